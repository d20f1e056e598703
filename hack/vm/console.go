package vm

import (
	"bytes"
	"io"
	"strings"
)

// console passes a guest's serial line on, in lines as files have them, and keeps
// the last ones for the error of a guest that does not come back.
type console struct {
	to   io.Writer
	rest []byte
	last []string
}

const keptLines = 20

func (c *console) Write(p []byte) (int, error) {
	c.rest = append(c.rest, p...)
	for {
		end := bytes.IndexByte(c.rest, '\n')
		if end < 0 {
			return len(p), nil
		}
		c.line(string(c.rest[:end]))
		c.rest = c.rest[end+1:]
	}
}

func (c *console) line(text string) {
	text = strings.TrimRight(text, "\r")
	if c.last = append(c.last, text); len(c.last) > keptLines {
		c.last = c.last[1:]
	}
	if c.to != nil {
		io.WriteString(c.to, text+"\n") //nolint:errcheck // a console that nobody reads any more is no reason to stop the guest
	}
}

// flush passes on what came without an end of line.
func (c *console) flush() {
	if len(c.rest) > 0 {
		c.line(string(c.rest))
		c.rest = nil
	}
}

func (c *console) tail() string {
	if len(c.last) == 0 {
		return ""
	}
	return "; its console ended with:\n  " + strings.Join(c.last, "\n  ")
}
