package resolve

import "testing"

func TestLiteral(t *testing.T) {
	for text, want := range map[string]string{
		"10.77.0.101": "10.77.0.101", "255.255.255.255": "255.255.255.255", "[2001:db8::1]": "2001:db8::1",
		"2001:db8::1": "2001:db8::1", "[::ffff:10.0.0.1]": "10.0.0.1",
		"": "", "1.2.3": "", "1.2.3.4.5": "", "256.1.1.1": "", "1..2.3": "", "example.com": "", "[::1%eth0]": "", ".1.2.3": "", "1.2.3.": "",
	} {
		a, ok := Literal([]byte(text))
		if ok != (want != "") || ok && a.String() != want {
			t.Errorf("Literal(%q) = %v, %v; want %q", text, a, ok, want)
		}
	}
}
