package sipcore

import (
	"holdline/domains"
	"holdline/sipcore/proxy"
	"holdline/sipcore/registrar"
)

// identities makes the parts that know users: who sent a request, and where they are registered.
func (c *Core) identities() (proxy.Auth, proxy.Registrar) {
	auth := domains.NewAuth(c.opt.Machine)
	return auth, registrar.New(c.opt.Machine, auth)
}
