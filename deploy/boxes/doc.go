// Package main tries the Debian package where it will live: on three systems with systemd, which it boots in containers (systemd-nspawn)
// whose network cards hang on a switch of the lab. It installs the package, makes a cluster by the commands of docs/install.md,
// then restarts, kills, freezes and upgrades the units, pulls a cable, reboots a box, cuts another's power, and takes the package off. All the while every VIP is asked
// whether it is served. `make boxes`; it needs root, and Debian's systemd-container and debootstrap.
//
// What runs here and nowhere else are the units: their users, capabilities, sandboxes, watchdogs, and the order they stop in.
package main
