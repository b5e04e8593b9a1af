package vip

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// sysctls an interface needs to carry virtual addresses.
func sysctls() [][2]string {
	return [][2]string{
		{"arp_ignore", "1"},          // answer ARP only for addresses of the interface asked
		{"arp_announce", "2"},        // ask with an address of the network asked, never with a VIP
		{"rp_filter", "2"},           // accept what comes in on another way than it would leave (several networks)
		{"promote_secondaries", "1"}, // removing an address must not take others with it
		{"arp_notify", "0"},          // a node whose cable comes back must not shout an address it has lost
	}
}

// setSysctls sets them and returns what could not be set. What has its value already needs no right to write.
func setSysctls(dev string) (failures []string) {
	for _, s := range sysctls() {
		path := filepath.Join("/proc/sys/net/ipv4/conf", dev, s[0])
		if b, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(b)) == s[1] {
			continue
		}
		if err := os.WriteFile(path, []byte(s[1]), 0); err != nil {
			failures = append(failures, fmt.Sprintf("set net.ipv4.conf.%s.%s = %s: %v", dev, s[0], s[1], err))
		}
	}
	return failures
}
