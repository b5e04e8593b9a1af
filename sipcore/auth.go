package sipcore

import "holdline/sipcore/proxy"

func (c *Core) newAuth() proxy.Auth { return nil }

func (c *Core) newRegistrar() proxy.Registrar { return nil }
