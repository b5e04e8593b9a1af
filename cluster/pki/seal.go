package pki

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
)

// SealKeySize is the length of the cluster key in bytes.
const SealKeySize = 32

// NewSecret makes n random bytes.
func NewSecret(n int) ([]byte, error) {
	secret := make([]byte, n)
	if _, err := rand.Read(secret); err != nil {
		return nil, fmt.Errorf("make secret: %w", err)
	}
	return secret, nil
}

// Seal encrypts plain with the cluster key (AES-256-GCM, random nonce in front), bound to purpose.
func Seal(clusterKey []byte, purpose string, plain []byte) ([]byte, error) {
	aead, err := newAEAD(clusterKey)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", purpose, err)
	}
	nonce, err := NewSecret(aead.NonceSize())
	if err != nil {
		return nil, err
	}
	return aead.Seal(nonce, nonce, plain, []byte(purpose)), nil
}

// Unseal undoes Seal.
func Unseal(clusterKey []byte, purpose string, sealed []byte) ([]byte, error) {
	aead, err := newAEAD(clusterKey)
	if err != nil {
		return nil, fmt.Errorf("unseal %s: %w", purpose, err)
	}
	if len(sealed) < aead.NonceSize() {
		return nil, fmt.Errorf("unseal %s: too short", purpose)
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], []byte(purpose))
	if err != nil {
		return nil, fmt.Errorf("unseal %s: the cluster key of this node does not fit: %w", purpose, err)
	}
	return plain, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	if len(key) != SealKeySize {
		return nil, errors.New("cluster key has the wrong length")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// SealCA seals the CA's private key for the replicated table.
func SealCA(clusterKey []byte, ca *CA) ([]byte, error) {
	return Seal(clusterKey, "ca", ca.Key.Seed())
}

// UnsealCA puts the replicated private key back to its certificate.
func UnsealCA(clusterKey, sealed []byte, ca *CA) error {
	seed, err := Unseal(clusterKey, "ca", sealed)
	if err != nil {
		return err
	}
	if len(seed) != ed25519.SeedSize {
		return errors.New("unseal ca: not a key")
	}
	key := ed25519.NewKeyFromSeed(seed)
	public, ok := ca.Cert.PublicKey.(ed25519.PublicKey)
	if !ok || !public.Equal(key.Public()) {
		return errors.New("unseal ca: the key is not that of ca.crt")
	}
	ca.Key = key
	return nil
}
