package pki

import (
	"bytes"
	"testing"
)

// TestSharedCertificate: all members make the same certificate, and it speaks for every name.
func TestSharedCertificate(t *testing.T) {
	key := bytes.Repeat([]byte{7}, SealKeySize)
	a, err := SharedCertificate(key, "c1", []string{"example.com", "10.77.0.101", "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := SharedCertificate(key, "c1", []string{"10.77.0.101", "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Certificate[0], b.Certificate[0]) {
		t.Error("two members make different certificates")
	}
	for _, name := range []string{"example.com", "10.77.0.101"} {
		if err := a.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	other, err := SharedCertificate(bytes.Repeat([]byte{8}, SealKeySize), "c1", nil)
	if err != nil || other.Leaf.PublicKey == a.Leaf.PublicKey {
		t.Error("another cluster has the same key", err)
	}
}
