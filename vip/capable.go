package vip

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrPowerless means that this process may not change addresses.
var ErrPowerless = errors.New("this process has no CAP_NET_ADMIN, and without it a guard can hold no address: run it as its unit (systemctl start holdline-guard), as root, or with that capability")

// capable tells whether the calling thread has a capability in effect, in its user namespace: in one of its own an ordinary user has them all.
func capable(capability int) (bool, error) {
	var data [2]unix.CapUserData // version 3 has two words
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]); err != nil {
		return false, fmt.Errorf("ask for own capabilities: %w", err)
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0, nil
}

// MayHoldAddresses refuses what a guard could not do, and a child of this process neither (ErrPowerless). One that went on without would own the run directory,
// win leases, and serve nobody. It speaks of the calling thread.
func MayHoldAddresses() error {
	has, err := capable(unix.CAP_NET_ADMIN)
	if err == nil && !has {
		err = ErrPowerless
	}
	return err
}
