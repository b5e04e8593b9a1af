package netlab

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// Connect lays a cable from this box to another one, beside the switch. Both call the card that it ends in name.
func (s *Space) Connect(to *Space, name string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	cable := &netlink.Veth{LinkAttrs: attrs, PeerName: name, PeerNamespace: netlink.NsFd(to.fd)}
	if err := s.links.LinkAdd(cable); err != nil {
		return fmt.Errorf("lay a cable from %s to %s: %w", s.Name, to.Name, err)
	}
	for _, end := range []*Space{s, to} {
		card, err := end.links.LinkByName(name)
		if err == nil {
			err = end.links.LinkSetUp(card)
		}
		if err != nil {
			return fmt.Errorf("set the card %s of %s up: %w", name, end.Name, err)
		}
	}
	return nil
}
