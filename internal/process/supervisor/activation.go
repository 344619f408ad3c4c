package supervisor

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Descriptor is a descriptor that the supervisor has opened.
//
//	LISTEN_PID      the process that they are for
//	LISTEN_FDS      how many there are
//	LISTEN_FDNAMES  their names, with ":" between them; systemd 227 and later
//
// It knows neither what a descriptor is nor what it is for: package server looks at sockets.
//
// A variable that is wrong is an error. A service that ignored it would open its addresses itself, or fail to, and no
// message would say why. Variables that are for another process are an error of their own, ErrOtherProcess: a caller
// may go on without them.
//
// TakeDescriptors is called once, before the process starts another one: it removes the variables from the environment,
// and sets close-on-exec on the descriptors. A parent that starts the service as its child calls handOn in place of it.
// The child cannot find its own number in LISTEN_PID, which was written before the child existed. So it gets
// EDGE_LISTEN_PARENT with the number of the parent.
//
// The caller owns the descriptors. Both functions change the environment, so they belong to the start of a process.
type Descriptor struct {
	FD   int
	Name string // FileDescriptorName= of a unit; without one, systemd gives the name of the unit; "": none
}

// first is SD_LISTEN_FDS_START.
const first = 3

// descriptorsMax is more than a process may usually open.
const descriptorsMax = 1 << 20

// nameMax is the limit of systemd, in bytes.
const nameMax = 255

const (
	pidVariable    = "LISTEN_PID"
	countVariable  = "LISTEN_FDS"
	namesVariable  = "LISTEN_FDNAMES"
	pidfdVariable  = "LISTEN_PIDFDID" // of systemd 258 and later, which names the process a second time
	parentVariable = "EDGE_LISTEN_PARENT"
)

var variables = []string{pidVariable, countVariable, namesVariable, pidfdVariable, parentVariable}

// ErrOtherProcess says that the descriptors are for another process.
var ErrOtherProcess = errors.New("descriptors of the supervisor are for another process")

// TakeDescriptors returns the descriptors that are for this process, none where its supervisor has opened none.
func TakeDescriptors() ([]Descriptor, error) {
	all, err := parseDescriptors(os.Getenv, os.Getpid(), os.Getppid())
	for _, name := range variables {
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	for _, d := range all {
		if _, err := unix.FcntlInt(uintptr(d.FD), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			return nil, fmt.Errorf("%s=%d: descriptor %d: %w: the supervisor has not opened it", countVariable,
				len(all), d.FD, err)
		}
	}
	return all, nil
}

// handOn is Take for a child: files are its descriptors from 3 on, and env is added to its environment. The caller
// closes files when it has started the child.
func handOn() (files []*os.File, env []string, err error) {
	all, err := TakeDescriptors()
	if err != nil || len(all) == 0 {
		return nil, nil, err
	}
	names := make([]string, len(all))
	for i, d := range all {
		files = append(files, os.NewFile(uintptr(d.FD), d.Name))
		names[i] = d.Name
	}
	return files, []string{
		parentVariable + "=" + strconv.Itoa(os.Getpid()),
		countVariable + "=" + strconv.Itoa(len(all)),
		namesVariable + "=" + strings.Join(names, ":"),
	}, nil
}

// parseDescriptors reads the variables for the process self, the child of parent.
func parseDescriptors(get func(name string) string, self, parent int) ([]Descriptor, error) {
	count := get(countVariable)
	if count == "" {
		return nil, nil
	}
	if err := meantForProcess(get, self, parent); err != nil {
		return nil, err
	}
	n, err := parseNumber(countVariable, count)
	if err != nil {
		return nil, err
	}
	if n > descriptorsMax {
		return nil, fmt.Errorf("%s=%d: a process may not have so many", countVariable, n)
	}
	names := make([]string, n)
	if text := get(namesVariable); text != "" {
		if names = strings.Split(text, ":"); len(names) != n {
			return nil, fmt.Errorf("%s=%q has %d names for %s=%d descriptors", namesVariable, text, len(names),
				countVariable, n)
		}
	}
	all := make([]Descriptor, n)
	for i, name := range names {
		if !validName(name) {
			return nil, fmt.Errorf("%s: name %d, %q, is longer than %d bytes or not of printable ASCII", namesVariable,
				i+1, name, nameMax)
		}
		all[i] = Descriptor{first + i, name}
	}
	return all, nil
}

// meantForProcess returns an error unless the variables are for the process self.
func meantForProcess(get func(name string) string, self, parent int) error {
	name, own := pidVariable, self
	if get(parentVariable) != "" {
		name, own = parentVariable, parent
	}
	text := get(name)
	if text == "" {
		return fmt.Errorf("%w: %s is set, and %s is not", ErrOtherProcess, countVariable, pidVariable)
	}
	pid, err := parseNumber(name, text)
	if err != nil {
		return err
	}
	if pid != own {
		return fmt.Errorf("%w: %s=%d, and this is process %d", ErrOtherProcess, name, pid, self)
	}
	return nil
}

// parseNumber reads a positive number in the form in which systemd writes it.
func parseNumber(name, text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || strconv.Itoa(n) != text {
		return 0, fmt.Errorf("%s=%q is no number above 0", name, text)
	}
	return n, nil
}

// validName reports whether systemd allows a name.
func validName(name string) bool {
	return len(name) <= nameMax && !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' })
}
