package certs

import (
	"bytes"
	"fmt"
	"time"
)

// The entries of the Secret.
const (
	currentCert  = "ca.crt"
	currentKey   = "ca.key"
	nextCert     = "next.crt"
	nextKey      = "next.key"
	previousCert = "previous.crt"
)

// keyring is what the Secret holds.
type keyring struct {
	current, next authority
	previous      []byte // PEM; empty until the first rotation
}

// newKeyring starts from nothing.
func newKeyring(now time.Time) (keyring, error) {
	current, err := newAuthority(now, authorityLife)
	if err != nil {
		return keyring{}, err
	}
	next, err := newAuthority(now, nextLife)
	return keyring{current: current, next: next}, err
}

// rotate moves every authority one place on.
func (k keyring) rotate(now time.Time) (keyring, error) {
	fresh, err := newAuthority(now, nextLife)
	return keyring{current: k.next, next: fresh, previous: encodeCert(k.current.cert)}, err
}

// bundle holds every certificate that a replica's may be signed by.
func (k keyring) bundle() []byte {
	return bytes.Join([][]byte{encodeCert(k.current.cert), encodeCert(k.next.cert), k.previous}, nil)
}

func (k keyring) data() (map[string][]byte, error) {
	out := map[string][]byte{previousCert: k.previous}
	var err error
	if out[currentCert], out[currentKey], err = k.current.encode(); err != nil {
		return nil, err
	}
	out[nextCert], out[nextKey], err = k.next.encode()
	return out, err
}

func parseKeyring(data map[string][]byte) (keyring, error) {
	current, err := decodeAuthority(data[currentCert], data[currentKey])
	if err != nil {
		return keyring{}, fmt.Errorf("%s and %s: %w", currentCert, currentKey, err)
	}
	next, err := decodeAuthority(data[nextCert], data[nextKey])
	if err != nil {
		return keyring{}, fmt.Errorf("%s and %s: %w", nextCert, nextKey, err)
	}
	return keyring{current: current, next: next, previous: data[previousCert]}, nil
}
