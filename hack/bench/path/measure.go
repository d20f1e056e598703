package main

import (
	"io"
	"net"
	"slices"
	"sync/atomic"
	"time"
)

const port = "7777"

// Requests to the server of measurements: the first byte of a connection.
const (
	sink = 's' // swallow everything
	echo = 'e' // give everything back
)

func measure(l *lab, each time.Duration) (sample, error) {
	var s sample
	var ln net.Listener
	var swallowed atomic.Int64
	if err := l.in("b", func() (err error) {
		ln, err = net.Listen("tcp", ":"+port)
		return err
	}); err != nil {
		return s, err
	}
	defer ln.Close()
	go serve(ln, &swallowed)
	dial := func() (c net.Conn, err error) {
		c, err = net.DialTimeout("tcp", net.JoinHostPort(podAddresses["b"], port), 5*time.Second)
		return c, err
	}
	return s, l.in("a", func() (err error) {
		if s.throughput, err = throughput(dial, &swallowed, each); err != nil {
			return err
		}
		if s.trip, s.tail, err = trips(dial, each); err != nil {
			return err
		}
		s.connects, err = connects(dial, each)
		return err
	})
}

func serve(ln net.Listener, swallowed *atomic.Int64) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			kind := make([]byte, 1)
			if _, err := io.ReadFull(c, kind); err != nil {
				return
			}
			if kind[0] == echo {
				_, _ = io.Copy(c, c)
				return
			}
			b := make([]byte, 256<<10)
			for {
				n, err := c.Read(b)
				swallowed.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
	}
}

func throughput(dial func() (net.Conn, error), swallowed *atomic.Int64, each time.Duration) (float64, error) {
	c, err := dial()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if _, err := c.Write([]byte{sink}); err != nil {
		return 0, err
	}
	b := make([]byte, 256<<10)
	begin, from := time.Now(), swallowed.Load()
	for time.Since(begin) < each {
		if _, err := c.Write(b); err != nil {
			return 0, err
		}
	}
	return float64(swallowed.Load()-from) * 8 / time.Since(begin).Seconds(), nil
}

func trips(dial func() (net.Conn, error), each time.Duration) (median, tail time.Duration, err error) {
	c, err := dial()
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	if _, err := c.Write([]byte{echo}); err != nil {
		return 0, 0, err
	}
	var all []time.Duration
	b := make([]byte, 1)
	for end := time.Now().Add(each); time.Now().Before(end); {
		begin := time.Now()
		if _, err := c.Write(b); err != nil {
			return 0, 0, err
		}
		if _, err := io.ReadFull(c, b); err != nil {
			return 0, 0, err
		}
		all = append(all, time.Since(begin))
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100], nil
}

func connects(dial func() (net.Conn, error), each time.Duration) (float64, error) {
	begin, n := time.Now(), 0
	for time.Since(begin) < each {
		c, err := dial()
		if err != nil {
			return 0, err
		}
		n++
		// A reset leaves no port behind that would have to wait.
		if err := c.(*net.TCPConn).SetLinger(0); err != nil {
			return 0, err
		}
		c.Close()
	}
	return float64(n) / time.Since(begin).Seconds(), nil
}
