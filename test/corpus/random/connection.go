package random

import (
	"net/netip"

	"pgregory.net/rapid"

	"palisade.dev/palisade/policy/model"
)

// Connections draws connections in a cluster: between endpoints more often than
// with the world, and on ports that rules speak of or that lie beside those.
func Connections(t *rapid.T, c model.Cluster, n int) []model.Connection {
	var owned [2][]netip.Addr
	for _, e := range c.Endpoints {
		for _, a := range e.Addresses {
			if a.Is4() {
				owned[0] = append(owned[0], a)
			} else {
				owned[1] = append(owned[1], a)
			}
		}
	}
	out := make([]model.Connection, 0, n)
	for range n {
		six := len(owned[1]) > 1 && rapid.IntRange(0, 3).Draw(t, "family") == 3
		from, to := end(t, owned, six), end(t, owned, six)
		conn := model.Connection{From: from, To: to}
		conn.Proto, conn.Port = port(t, six)
		out = append(out, conn)
	}
	return out
}

func end(t *rapid.T, owned [2][]netip.Addr, six bool) netip.Addr {
	list, any4 := owned[0], address4
	if six {
		list, any4 = owned[1], address6
	}
	switch what := rapid.IntRange(0, 31).Draw(t, "end"); {
	case what == 31 && !six:
		return netip.AddrFrom4([4]byte{203, 0, 113, 9})
	case what > 28 || len(list) == 0:
		return any4(t)
	default:
		return one(t, "endpoint", list)
	}
}

func port(t *rapid.T, six bool) (model.Protocol, model.Port) {
	switch rapid.IntRange(0, 9).Draw(t, "protocol") {
	case 0:
		return 47, 0
	case 1:
		proto := model.ProtoICMP
		if six {
			proto = model.ProtoICMPv6
		}
		return proto, one(t, "type", []model.Port{0, 8, 128, 255})<<8 | model.Port(rapid.IntRange(0, 2).Draw(t, "code"))
	default:
		p := one(t, "port", portNumber)
		return one(t, "protocol", transports), p + one(t, "beside", []model.Port{0, 0, 0, 1, 65535})
	}
}
