package layout

import (
	"fmt"
	"net/netip"

	"palisade.dev/palisade/snapshot"
)

// partKey and addressKey read the keys of deleted entries: the family, 4 or 6, the
// address, and the length of a prefix.
func partKey(key []byte) (snapshot.Row, error) {
	if len(key) == 0 {
		return nil, fmt.Errorf("delete from table %s: no key", snapshot.TablePart)
	}
	a, err := keyAddr(key[:len(key)-1])
	if err != nil {
		return nil, fmt.Errorf("delete from table %s: %w", snapshot.TablePart, err)
	}
	return snapshot.PartRow{Prefix: netip.PrefixFrom(a, int(key[len(key)-1]))}, nil
}

func addressKey(key []byte) (snapshot.Row, error) {
	a, err := keyAddr(key)
	if err != nil {
		return nil, fmt.Errorf("delete from table %s: %w", snapshot.TableAddress, err)
	}
	return snapshot.AddressRow{Addr: a}, nil
}

func keyAddr(key []byte) (netip.Addr, error) {
	switch {
	case len(key) == 5 && key[0] == 4:
		return netip.AddrFrom4([4]byte(key[1:])), nil
	case len(key) == 17 && key[0] == 6:
		return netip.AddrFrom16([16]byte(key[1:])), nil
	}
	return netip.Addr{}, fmt.Errorf("address of %d bytes", len(key))
}
