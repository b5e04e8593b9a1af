package api

// maxAccount is how long a user or password at a gateway may be, in characters.
const maxAccount = 128

// Bounds of how long a registration at a gateway is asked to last, in seconds.
const (
	minRegister = 60
	maxRegister = 24 * 3600
)

// checkAccount looks at user, password and registration, and never repeats the password.
func (m *Member) checkAccount() error {
	if !printable(m.User, "\"\\ ") {
		return Errorf(CodeInvalid, "user %q has characters that no account has, or more than %d: give it as the carrier has told it", m.User, maxAccount)
	}
	if !printable(m.Password, "") {
		return Errorf(CodeInvalid, "the password of user %s has other characters than printable ASCII, or more than %d: give it as the carrier has told it", m.User, maxAccount)
	}
	if !printable(m.Realm, "\"\\") {
		return Errorf(CodeInvalid, "realm %q has characters that no realm has, or more than %d: give it as the carrier's challenge has it", m.Realm, maxAccount)
	}
	if m.RegisterS != 0 && (m.RegisterS < minRegister || m.RegisterS > maxRegister) {
		return Errorf(CodeInvalid, "a registration lasts for %d to %d seconds, not %d: carriers that want another time say so", minRegister, maxRegister, m.RegisterS)
	}
	return nil
}

// printable reports whether s is short ASCII without control characters and those in not.
func printable(s, not string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
		for k := range len(not) {
			if s[i] == not[k] {
				return false
			}
		}
	}
	return len(s) <= maxAccount
}

// CheckPassword refuses what would leave a gateway's user without a password. has: one is stored.
func (m *Member) CheckPassword(has bool) error {
	if m.User != "" && m.Password == "" && !has {
		return Errorf(CodeInvalid, "user %s of member %s has no password: pipe it in with --password-stdin", m.User, m.Name)
	}
	return nil
}
