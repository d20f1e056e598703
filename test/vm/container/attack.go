package container

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Attacker is a container that runs attacks (test/vm/attack serve).
type Attacker struct {
	*Container
	in      *os.File
	out     *os.File
	mu      sync.Mutex
	next    int
	running map[string]chan string
}

// AttackProgram is where images have it.
const AttackProgram = "/bin/attack"

// Attacker starts a container that waits for attacks to run.
func (p *Pod) Attacker(s Spec) (*Attacker, error) {
	s.Args = []string{AttackProgram, "serve"}
	c, err := p.prepare(s, false)
	if err != nil {
		return nil, err
	}
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	err = c.detach(inRead, outWrite, nil)
	if err := errors.Join(err, inRead.Close(), outWrite.Close()); err != nil {
		return nil, err
	}
	a := &Attacker{Container: c, in: inWrite, out: outRead, running: map[string]chan string{}}
	go a.read()
	return a, nil
}

// read hands on what attacks say, until the container ends.
func (a *Attacker) read() {
	for lines := bufio.NewScanner(a.out); lines.Scan(); {
		words := strings.SplitN(lines.Text(), " ", 3)
		if len(words) < 3 {
			continue
		}
		a.mu.Lock()
		to := a.running[words[1]]
		a.mu.Unlock()
		if to != nil {
			to <- words[0] + " " + words[2]
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, to := range a.running {
		close(to)
	}
}

// Attack is one that was started.
type Attack struct {
	id   string
	by   *Attacker
	said chan string
	rest []string
}

// Begin starts an attack on a directory.
func (a *Attacker) Begin(name, dir string) (*Attack, error) {
	a.mu.Lock()
	a.next++
	x := &Attack{id: strconv.Itoa(a.next), by: a, said: make(chan string, 256)}
	a.running[x.id] = x.said
	a.mu.Unlock()
	_, err := fmt.Fprintln(a.in, "run", x.id, name, dir)
	return x, err
}

// unhurried is how long an attack may take. Emulation is slow.
const unhurried = 3 * time.Minute

// Wait waits for a line that begins so, or for the attack's end.
func (x *Attack) Wait(prefix string) (string, error) {
	timeout := time.After(unhurried)
	for {
		select {
		case line, ok := <-x.said:
			if !ok {
				return "", errors.New("the container ended")
			}
			if text, ok := strings.CutPrefix(line, "out "); ok {
				if strings.HasPrefix(text, prefix) {
					return text, nil
				}
				x.rest = append(x.rest, text)
				continue
			}
			if line == "end signal: killed" {
				return "", ErrKilled
			}
			return "", fmt.Errorf("the attack ended (%s) and said: %s", strings.TrimPrefix(line, "end "), strings.Join(x.rest, " | "))
		case <-timeout:
			return "", fmt.Errorf("nothing in %s; it said: %s", unhurried, strings.Join(x.rest, " | "))
		}
	}
}

// ErrKilled says that the attack's own process was killed.
var ErrKilled = errors.New("the attack was killed")

// Go lets an attack go on that waits for the policy.
func (x *Attack) Go() error {
	_, err := fmt.Fprintln(x.by.in, "say", x.id, "go")
	return err
}

// Result waits for how the attack went: succeeded, or why not.
func (x *Attack) Result() (Outcome, error) {
	line, err := x.Wait("attack=")
	if errors.Is(err, ErrKilled) {
		return Outcome{Errno: "SIGKILL"}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	o := Outcome{Said: strings.Join(x.rest, " | ")}
	if line == "attack=succeeded" {
		o.Succeeded = true
		return o, nil
	}
	errno, ok := strings.CutPrefix(line, "attack=failed errno=")
	if !ok {
		return o, fmt.Errorf("the attack printed %q", line)
	}
	o.Errno = errno
	return o, nil
}

// Outcome is how an attack went.
type Outcome struct {
	Succeeded bool
	Errno     string // "SIGKILL" for a process that was killed, "none" for no error
	Said      string
}

// Attack runs an attack to its end.
func (a *Attacker) Attack(name, dir string) (Outcome, error) {
	x, err := a.Begin(name, dir)
	if err != nil {
		return Outcome{}, err
	}
	return x.Result()
}
