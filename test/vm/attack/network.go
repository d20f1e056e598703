package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// The ports that the policies of these attacks close, for connecting and sending,
// for binding, and for listening.
const (
	deniedPort = 7999
	bindPort   = 7998
	listenPort = 7997
)

// Not in the library.
const (
	protoMPTCP   = 262
	protoSCTP    = 132
	protoSMC     = 256
	familySMC    = 43
	sctpBindxAdd = 100
	sctpConnectx = 110
	tcpFastopen  = 30 // TCP_FASTOPEN_CONNECT
	noError      = unix.Errno(0)
)

var (
	local4  = loopback(deniedPort)
	local6  = &unix.SockaddrInet6{Port: deniedPort, Addr: netip.IPv6Loopback().As16()}
	mapped4 = &unix.SockaddrInet6{Port: deniedPort, Addr: netip.MustParseAddr("::ffff:127.0.0.1").As16()}
)

func init() {
	add(map[string]func(string) error{
		"connect":              func(string) error { return connects(unix.AF_INET, unix.IPPROTO_TCP, local4, plainConnect(local4)) },
		"connect-6":            func(string) error { return connects(unix.AF_INET6, unix.IPPROTO_TCP, local6, plainConnect(local6)) },
		"connect-mapped":       func(string) error { return connects(unix.AF_INET6, unix.IPPROTO_TCP, local4, plainConnect(mapped4)) },
		"connect-mptcp":        func(string) error { return connects(unix.AF_INET, protoMPTCP, local4, plainConnect(local4)) },
		"connect-smc":          func(string) error { return connects(familySMC, 0, local4, plainConnect(local4)) },
		"connect-smc-protocol": smcProtocol,
		"connect-sctp":         func(string) error { return connects(unix.AF_INET, protoSCTP, local4, plainConnect(local4)) },
		"connectx-sctp":        func(string) error { return connects(unix.AF_INET, protoSCTP, local4, connectx) },
		"connectx-further":     func(string) error { return connects(unix.AF_INET, protoSCTP, local4, connectxFurther) },
		"sctp-ancillary":       sctpAncillary,
		"bindx-further":        func(string) error { return binds(unix.AF_INET, protoSCTP, bindxFurther) },
		"connect-uring":        func(string) error { return connects(unix.AF_INET, unix.IPPROTO_TCP, local4, uringConnect) },
		"fastopen-sendto": func(string) error {
			return connects(unix.AF_INET, unix.IPPROTO_TCP, local4, func(fd int) error {
				return unix.Sendto(fd, []byte("!"), unix.MSG_FASTOPEN, local4)
			})
		},
		"fastopen-sendmsg": func(string) error {
			return connects(unix.AF_INET, unix.IPPROTO_TCP, local4, func(fd int) error {
				return unix.Sendmsg(fd, []byte("!"), nil, local4, unix.MSG_FASTOPEN)
			})
		},
		"fastopen-smc": func(string) error {
			return connects(familySMC, 0, local4, func(fd int) error {
				return unix.Sendto(fd, []byte("!"), unix.MSG_FASTOPEN, local4)
			})
		},
		"fastopen-connect": func(string) error {
			return connects(unix.AF_INET, unix.IPPROTO_TCP, local4, func(fd int) error {
				if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, tcpFastopen, 1); err != nil {
					return err
				}
				return plainConnect(local4)(fd)
			})
		},
		"udp-sendto": func(string) error {
			return datagram(func(fd int) error { return unix.Sendto(fd, []byte("!"), 0, local4) })
		},
		"udp-sendmsg": func(string) error {
			return datagram(func(fd int) error { return unix.Sendmsg(fd, []byte("!"), nil, local4, 0) })
		},
		"udp-connect":    func(string) error { return datagram(connectAndWrite) },
		"udp-sendmmsg":   func(string) error { return datagram(sendmmsg) },
		"sctp-sendto":    sctpSendto,
		"bind":           func(string) error { return binds(unix.AF_INET, unix.IPPROTO_TCP, plainBind) },
		"bind-mptcp":     func(string) error { return binds(unix.AF_INET, protoMPTCP, plainBind) },
		"bind-smc":       func(string) error { return binds(familySMC, 0, plainBind) },
		"bind-sctp":      func(string) error { return binds(unix.AF_INET, protoSCTP, plainBind) },
		"bindx-sctp":     func(string) error { return binds(unix.AF_INET, protoSCTP, bindx) },
		"listen":         listen,
		"listen-unbound": func(string) error { return listenUnbound(unix.AF_INET) },
		"listen-smc":     func(string) error { return listenUnbound(familySMC) },
	})
}

func plainConnect(to unix.Sockaddr) func(fd int) error {
	return func(fd int) error {
		if err := unix.Connect(fd, to); err != nil {
			return err
		}
		_, err := unix.Write(fd, []byte("!"))
		return err
	}
}

func plainBind(fd int) error { return unix.Bind(fd, loopback(bindPort)) }

func loopback(port int) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
}

// patience is how long something that must come is waited for.
const patience = 5 * time.Second

func readable(fd int) error {
	for deadline := time.Now().Add(patience); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		case n == 1:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%w: nothing came", errNoEffect)
		}
	}
}

// connects reports whether a server gets a byte by way of reach. The server is
// somebody else: it is there before the policy speaks of this process.
func connects(family, protocol int, at unix.Sockaddr, reach func(fd int) error) error {
	serverFamily := unix.AF_INET
	if _, ok := at.(*unix.SockaddrInet6); ok {
		serverFamily = unix.AF_INET6
	}
	server, err := unix.Socket(serverFamily, unix.SOCK_STREAM, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(server)
	if err := errors.Join(
		unix.SetsockoptInt(server, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(server, at), unix.Listen(server, 4),
	); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := reach(fd); err != nil {
		return err
	}
	if err := readable(server); err != nil {
		return err
	}
	conn, _, err := unix.Accept(server)
	if err != nil {
		return err
	}
	defer unix.Close(conn)
	return gets(conn)
}

func gets(fd int) error {
	if err := readable(fd); err != nil {
		return err
	}
	n, err := unix.Read(fd, make([]byte, 8))
	if err == nil && n == 0 {
		err = errNoEffect
	}
	return err
}

// connectx gives the address by setsockopt.
func connectx(fd int) error {
	if err := sctpAddresses(fd, sctpConnectx, sockaddr4(deniedPort)); err != nil {
		return err
	}
	_, err := unix.Write(fd, []byte("!"))
	return err
}

func bindx(fd int) error { return sctpAddresses(fd, sctpBindxAdd, sockaddr4(bindPort)) }

// further is an address that is denied where the first is not.
func further(port uint16) [16]byte {
	a := sockaddr4(port)
	a[7] = 2
	return a
}

func bindxFurther(fd int) error {
	return sctpAddresses(fd, sctpBindxAdd, sockaddr4(bindPort), further(bindPort))
}

func connectxFurther(fd int) error {
	if err := sctpAddresses(fd, sctpConnectx, sockaddr4(deniedPort), further(deniedPort)); err != nil {
		return err
	}
	_, err := unix.Write(fd, []byte("!"))
	return err
}

// sctpAddresses gives addresses by setsockopt.
func sctpAddresses(fd, option int, addresses ...[16]byte) error {
	_, _, e := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), protoSCTP, uintptr(option), pointer(&addresses[0]), uintptr(len(addresses)*len(addresses[0])), 0)
	if e != noError {
		return e
	}
	return nil
}

// sctpAncillary connects by sending, and says beside the message where else the other end is.
func sctpAncillary(string) error {
	const destination4, size = 7, 4
	return connects(unix.AF_INET, protoSCTP, local4, func(int) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_SEQPACKET, protoSCTP)
		if err != nil {
			return err
		}
		beside := make([]byte, unix.CmsgSpace(size))
		binary.NativeEndian.PutUint64(beside, uint64(unix.CmsgLen(size)))
		binary.NativeEndian.PutUint32(beside[8:], protoSCTP)
		binary.NativeEndian.PutUint32(beside[12:], destination4)
		copy(beside[16:], []byte{127, 0, 0, 2})
		// Left open: closing would end the connection before it is taken.
		return unix.Sendmsg(fd, []byte("!"), beside, local4, 0)
	})
}

// sockaddr4 is an address of this machine as the kernel has it.
func sockaddr4(port uint16) [16]byte {
	return [16]byte{unix.AF_INET, 0, byte(port >> 8), byte(port), 127, 0, 0, 1}
}

func datagram(send func(fd int) error) error { return datagramAt(local4, send) }

// datagramAt reports whether a server at an address gets what is sent.
func datagramAt(at unix.Sockaddr, send func(fd int) error) error {
	server, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(server)
	if err := unix.Bind(server, at); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := send(fd); err != nil {
		return err
	}
	return gets(server)
}

func connectAndWrite(fd int) error { return plainConnect(local4)(fd) }

func sendmmsg(fd int) error {
	address, payload := sockaddr4(deniedPort), []byte("!")
	var message struct {
		unix.Msghdr
		sent uint32
		_    uint32
	}
	iov := unix.Iovec{Base: &payload[0]}
	iov.SetLen(len(payload))
	message.Name, message.Namelen = &address[0], uint32(len(address))
	message.Iov = &iov
	message.SetIovlen(1)
	_, _, e := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), pointer(&message), 1, 0, 0, 0)
	runtime.KeepAlive(payload)
	if e != noError {
		return e
	}
	return nil
}

// sctpSendto connects by sending.
func sctpSendto(string) error {
	return connects(unix.AF_INET, protoSCTP, local4, func(int) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_SEQPACKET, protoSCTP)
		if err != nil {
			return err
		}
		// Left open: closing would end the connection before it is taken.
		return unix.Sendto(fd, []byte("!"), 0, local4)
	})
}

func binds(family, protocol int, bind func(fd int) error) error {
	fd, err := unix.Socket(family, unix.SOCK_STREAM, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := bind(fd); err != nil {
		return err
	}
	got, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	if a, ok := got.(*unix.SockaddrInet4); protocol != protoSCTP && (!ok || a.Port != bindPort) {
		return fmt.Errorf("%w: bound to %v", errNoEffect, got)
	}
	return nil
}

// smcProtocol asks for shared memory communication as a protocol of the internet's, where
// the kernel has it.
func smcProtocol(string) error {
	return connects(unix.AF_INET, unix.IPPROTO_TCP, local4, func(int) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, protoSMC)
		if errors.Is(err, unix.EPROTONOSUPPORT) {
			fd, err = unix.Socket(familySMC, unix.SOCK_STREAM, 0)
		}
		if err != nil {
			return err
		}
		// Left open: closing would end the connection before it is taken.
		return plainConnect(local4)(fd)
	})
}

func listenUnbound(family int) error {
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	return unix.Listen(fd, 1)
}

func listen(string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, loopback(listenPort))); err != nil {
		return err
	}
	if err := unix.Listen(fd, 1); err != nil {
		return err
	}
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(client)
	return unix.Connect(client, loopback(listenPort))
}
