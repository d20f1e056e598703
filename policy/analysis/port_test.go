package analysis

import (
	"testing"

	"pgregory.net/rapid"

	"palisade.dev/palisade/policy/model"
)

func TestParsePort(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want Port
	}{
		"tcp":           {"8080/tcp", Port{model.ProtoTCP, 8080}},
		"udp":           {"53/udp", Port{model.ProtoUDP, 53}},
		"sctp":          {"65535/sctp", Port{model.ProtoSCTP, 65535}},
		"icmp type":     {"8/icmp", Port{model.ProtoICMP, 8 << 8}},
		"icmp code":     {"3.4/icmp", Port{model.ProtoICMP, 3<<8 | 4}},
		"icmp zero":     {"0/icmp", Port{model.ProtoICMP, 0}},
		"icmpv6":        {"128/icmpv6", Port{model.ProtoICMPv6, 128 << 8}},
		"without ports": {"47/ip", Port{47, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			have, err := ParsePort(tc.text)
			if err != nil || have != tc.want {
				t.Errorf("ParsePort(%q) = %v, %v; want %v", tc.text, have, err, tc.want)
			}
			if have.String() != tc.text {
				t.Errorf("String() = %q, want %q", have, tc.text)
			}
		})
	}
}

func TestParsePortRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":            "",
		"no protocol":        "8080",
		"no port":            "/tcp",
		"port zero":          "0/tcp",
		"port too large":     "65536/tcp",
		"negative":           "-1/tcp",
		"unknown protocol":   "1/quic",
		"upper case":         "1/TCP",
		"icmp type too big":  "256/icmp",
		"icmp code too big":  "8.256/icmp",
		"icmp code missing":  "8./icmp",
		"tcp by its number":  "6/ip",
		"protocol too large": "256/ip",
	} {
		t.Run(name, func(t *testing.T) {
			if have, err := ParsePort(text); err == nil {
				t.Errorf("ParsePort(%q) = %v, want an error", text, have)
			}
		})
	}
}

func TestPortStringIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Port{Proto: model.Protocol(rapid.IntRange(0, 255).Draw(t, "protocol"))}
		if named(p.Proto) != "" {
			p.Number = model.Port(rapid.IntRange(1, 65535).Draw(t, "number"))
		}
		have, err := ParsePort(p.String())
		if err != nil || have != p {
			t.Fatalf("%+v prints as %q, which reads as %+v, %v", p, p, have, err)
		}
	})
}
