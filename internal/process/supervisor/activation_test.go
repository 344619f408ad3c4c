package supervisor

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const self, parent = 42, 7

func environment(list ...string) func(string) string {
	return func(name string) string {
		for _, v := range list {
			if key, value, _ := strings.Cut(v, "="); key == name {
				return value
			}
		}
		return ""
	}
}

func TestParse(t *testing.T) {
	long := strings.Repeat("x", nameMax)
	for _, c := range []struct {
		env  []string
		want []Descriptor
		err  string // "": none
	}{
		{nil, nil, ""},
		{[]string{"LISTEN_PID=42"}, nil, ""},
		{[]string{"LISTEN_FDNAMES=web"}, nil, ""},
		{[]string{"LISTEN_PID=42", "LISTEN_FDS=1"}, []Descriptor{{3, ""}}, ""},
		{[]string{"LISTEN_PID=42", "LISTEN_FDS=2", "LISTEN_FDNAMES=web:edge.socket"},
			[]Descriptor{{3, "web"}, {4, "edge.socket"}}, ""},
		{[]string{"LISTEN_PID=42", "LISTEN_FDS=2", "LISTEN_FDNAMES=:"}, []Descriptor{{3, ""}, {4, ""}}, ""},
		{[]string{"LISTEN_PID=42", "LISTEN_FDS=3", "LISTEN_FDNAMES=a b::" + long},
			[]Descriptor{{3, "a b"}, {4, ""}, {5, long}}, ""},
		{[]string{"EDGE_LISTEN_PARENT=7", "LISTEN_FDS=1"}, []Descriptor{{3, ""}}, ""},
		{[]string{"EDGE_LISTEN_PARENT=7", "LISTEN_PID=9", "LISTEN_FDS=1"}, []Descriptor{{3, ""}}, ""},

		{[]string{"LISTEN_FDS=1"}, nil, "LISTEN_FDS is set, and LISTEN_PID is not"},
		{[]string{"LISTEN_PID=41", "LISTEN_FDS=1"}, nil, "LISTEN_PID=41, and this is process 42"},
		{[]string{"LISTEN_PID=7", "LISTEN_FDS=1"}, nil, "LISTEN_PID=7, and this is process 42"},
		{[]string{"EDGE_LISTEN_PARENT=42", "LISTEN_FDS=1"}, nil, "EDGE_LISTEN_PARENT=42, and this is process 42"},
		{[]string{"LISTEN_PID=x", "LISTEN_FDS=1"}, nil, `LISTEN_PID="x" is no number above 0`},
		{[]string{"LISTEN_PID=42 ", "LISTEN_FDS=1"}, nil, `LISTEN_PID="42 " is no number`},
		{[]string{"LISTEN_PID=042", "LISTEN_FDS=1"}, nil, `LISTEN_PID="042" is no number`},
		{[]string{"LISTEN_PID=-42", "LISTEN_FDS=1"}, nil, `LISTEN_PID="-42" is no number`},
		{[]string{"LISTEN_PID=42", "LISTEN_FDS=0"}, nil, `LISTEN_FDS="0" is no number above 0`},
		{[]string{"LISTEN_PID=42", "LISTEN_FDS=-1"}, nil, `LISTEN_FDS="-1" is no number above 0`},
		{[]string{"LISTEN_PID=42", "LISTEN_FDS=+1"}, nil, `LISTEN_FDS="+1" is no number above 0`},
		{[]string{"LISTEN_PID=42", "LISTEN_FDS=2147483647"}, nil, "may not have so many"},
		{[]string{"LISTEN_PID=42", "LISTEN_FDS=99999999999999999999"}, nil, "is no number"},
		{[]string{"LISTEN_PID=42", "LISTEN_FDS=2", "LISTEN_FDNAMES=web"}, nil, "has 1 names for LISTEN_FDS=2"},
		{[]string{"LISTEN_PID=42", "LISTEN_FDS=1", "LISTEN_FDNAMES=web:"}, nil, "has 2 names for LISTEN_FDS=1"},
		{[]string{"LISTEN_PID=42", "LISTEN_FDS=1", "LISTEN_FDNAMES=w\teb"}, nil, `name 1, "w\teb"`},
		{[]string{"LISTEN_PID=42", "LISTEN_FDS=1", "LISTEN_FDNAMES=wäb"}, nil, "not of printable ASCII"},
		{[]string{"LISTEN_PID=42", "LISTEN_FDS=1", "LISTEN_FDNAMES=x" + long}, nil, "longer than 255"},
	} {
		got, err := parseDescriptors(environment(c.env...), self, parent)
		switch {
		case c.err == "" && err != nil, c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%q: %v, want %q", c.env, err, c.err)
		case !slices.Equal(got, c.want):
			t.Errorf("%q: %v, want %v", c.env, got, c.want)
		}
		if other := strings.Contains(c.err, "and this is") || strings.Contains(c.err, "is not"); other !=
			errors.Is(err, ErrOtherProcess) {
			t.Errorf("%q: %v is ErrOtherProcess: %v", c.env, err, !other)
		}
	}
}

// A descriptor that is not open is an error, and the variables are removed all the same.
func TestTake_removesVariables(t *testing.T) {
	for _, v := range variables {
		t.Setenv(v, "1")
	}
	t.Setenv(pidVariable, strconv.Itoa(os.Getpid()))
	t.Setenv(countVariable, strconv.Itoa(descriptorsMax))
	t.Setenv(namesVariable, "")
	os.Unsetenv(parentVariable)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > descriptorsMax {
		t.Skip("all of these may be open")
	}
	// Descriptors that are open belong to the test: nothing but their flag is touched, which they have already.
	if all, err := TakeDescriptors(); all != nil || !errors.Is(err, unix.EBADF) {
		t.Errorf("%d descriptors, %v", len(all), err)
	}
	for _, v := range variables {
		if text, set := os.LookupEnv(v); set {
			t.Errorf("%s=%s is left", v, text)
		}
	}
	if all, err := TakeDescriptors(); all != nil || err != nil {
		t.Errorf("a second time: %v, %v", all, err)
	}
}

// Whatever the environment has, descriptors are those from 3 on, with names that go into the environment of a child as
// they are.
func FuzzParse(f *testing.F) {
	for _, c := range [][3]string{
		{"42", "1", ""}, {"42", "2", "web:edge.socket"}, {"42", "2", ":"}, {"41", "1", "a"}, {"", "1", ""},
		{"042", "1", ""}, {"42", "0", ""}, {"42", "2", "a:b:c"}, {"42", "1", "\x00"}, {"42", "1048577", ""},
	} {
		f.Add(c[0], c[1], c[2])
	}
	f.Fuzz(func(t *testing.T, pid, count, names string) {
		if len(count) > 4 {
			count = count[:4] // more would only take more memory
		}
		all, err := parseDescriptors(environment("LISTEN_PID="+pid, "LISTEN_FDS="+count, "LISTEN_FDNAMES="+names),
			self, parent)
		if err != nil {
			if all != nil {
				t.Fatalf("%v with %v", all, err)
			}
			return
		}
		if count == "" {
			return
		}
		if pid != strconv.Itoa(self) || fmt.Sprint(len(all)) != count {
			t.Fatalf("%q, %q: %d descriptors", pid, count, len(all))
		}
		var list []string
		for i, d := range all {
			if d.FD != first+i || strings.ContainsAny(d.Name, ":\n\x00") || len(d.Name) > nameMax {
				t.Fatalf("%d: %+v", i, d)
			}
			list = append(list, d.Name)
		}
		if joined := strings.Join(list, ":"); names != "" && joined != names {
			t.Fatalf("%q from %q", joined, names)
		}
	})
}
