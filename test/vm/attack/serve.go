package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// server runs attacks as children, so that a container's runtime is asked only
// once for many of them. It reads
//
//	run ID NAME DIR       start an attack
//	say ID TEXT           a line for its standard input
//
// and writes "out ID TEXT" for each line that one prints, and "end ID HOW".
type server struct {
	mu     sync.Mutex // of out and inputs
	out    io.Writer
	inputs map[string]io.Writer
	leak   *os.File // passed on; held here, or collecting garbage would close it
}

func serve(in io.Reader, out io.Writer) {
	s := &server{out: out, inputs: map[string]io.Writer{}, leak: leakedDirectory()}
	s.tell("out", "-", "serving")
	for lines := bufio.NewScanner(in); lines.Scan(); {
		words := strings.SplitN(lines.Text(), " ", 4)
		switch {
		case len(words) == 4 && words[0] == "run":
			s.run(words[1], words[2], words[3])
		case len(words) >= 3 && words[0] == "say":
			s.say(words[1], strings.Join(words[2:], " "))
		default:
			s.tell("out", "-", "what is "+lines.Text())
		}
	}
}

func (s *server) tell(what, id, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.out, what, id, text)
}

func (s *server) say(id, text string) {
	s.mu.Lock()
	to := s.inputs[id]
	s.mu.Unlock()
	if to != nil {
		// One that has ended is told so by "end".
		_, _ = fmt.Fprintln(to, text)
	}
}

func (s *server) run(id, name, dir string) {
	cmd := exec.Command(self(), name, dir)
	if s.leak != nil {
		cmd.ExtraFiles = []*os.File{s.leak}
	}
	input, err := cmd.StdinPipe()
	if err != nil {
		s.tell("end", id, err.Error())
		return
	}
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	s.mu.Lock()
	s.inputs[id] = input
	s.mu.Unlock()
	// Waited for here: an attack may be about being killed at once.
	if err := cmd.Start(); err != nil {
		s.tell("out", id, outcome(err))
		s.tell("end", id, "not started")
		return
	}
	go func() {
		copied := make(chan struct{})
		go func() {
			defer close(copied)
			for lines := bufio.NewScanner(read); lines.Scan(); {
				s.tell("out", id, lines.Text())
			}
		}()
		err := cmd.Wait()
		_ = write.Close()
		<-copied
		s.tell("end", id, ending(err))
	}()
}

func ending(err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "exit 0"
	case errors.As(err, &exit):
		return exit.String()
	}
	return err.Error()
}

// leaked is a descriptor that a careless runtime leaves open in a container.
const leaked = 3

// leakedDirectory is that descriptor, if this process got one.
func leakedDirectory() *os.File {
	var st unix.Stat_t
	if err := unix.Fstat(leaked, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	return os.NewFile(leaked, "leaked")
}
