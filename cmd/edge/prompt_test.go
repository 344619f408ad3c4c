package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestReadPassword_pipe(t *testing.T) {
	for text, want := range map[string]string{
		"secret": "secret", "se cret \r\nmore": "se cret ", "sécret\n": "sécret", "": "!no password",
		"\nsecret":                "!no password",
		strings.Repeat("x", 1025): "!longer than", strings.Repeat("x", 5000): "!longer than",
	} {
		got, err := readPassword(strings.NewReader(text), nil)
		if wrong, ok := strings.CutPrefix(want, "!"); ok {
			if err == nil || !strings.Contains(err.Error(), wrong) {
				t.Errorf("%.20q: %v", text, err)
			}
		} else if string(got) != want || err != nil {
			t.Errorf("%.20q: %q, %v", text, got, err)
		}
	}
}

// openTerminal opens a pair: what is written to one end is read at the other.
func openTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err) // a sandbox may have none
	}
	t.Cleanup(func() { _ = master.Close() })
	testutil.Must(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	testutil.Must(t, err)
	terminal, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	testutil.Must(t, err)
	t.Cleanup(func() { _ = terminal.Close() })
	return master, terminal
}

// typist types an answer to each question, and keeps the questions.
type typist struct {
	to      *os.File
	answers []string
	asked   bytes.Buffer
}

func (p *typist) Write(b []byte) (int, error) {
	if strings.HasSuffix(string(b), ": ") && len(p.answers) > 0 {
		fmt.Fprint(p.to, p.answers[0])
		p.answers = p.answers[1:]
	}
	return p.asked.Write(b)
}

func TestReadPassword_terminal(t *testing.T) {
	for _, c := range []struct {
		answers []string
		want    string
	}{
		{[]string{"secret\r", "secret\r"}, "secret"},
		{[]string{"wrong\x15secré\x7fex\x08t\n", "secret\n"}, "secret"},
		{[]string{"secret\r", "secreT\r"}, "!differ"},
		{[]string{"sec\x03"}, "!no password"},
		{[]string{"secret\r", "\x04"}, "!no password"},
		{[]string{"\x7f\r"}, "!no password"},
	} {
		master, terminal := openTerminal(t)
		before, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		testutil.Must(t, err)
		p := &typist{to: master, answers: c.answers}
		got, err := readPassword(terminal, p)
		if wrong, ok := strings.CutPrefix(c.want, "!"); ok {
			if err == nil || !strings.Contains(err.Error(), wrong) {
				t.Errorf("%q: %v", c.answers, err)
			}
		} else if string(got) != c.want || err != nil || p.asked.String() != "Password: \nAgain: \n" {
			t.Errorf("%q: %q, %v, asked %q", c.answers, got, err, p.asked.String())
		}
		if after, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS); err != nil || *after != *before {
			t.Error("the terminal is not as it was", err)
		}
	}
}

// What is typed is not shown.
func TestReadPassword_showsNothing(t *testing.T) {
	master, terminal := openTerminal(t)
	if _, err := readPassword(terminal, &typist{to: master, answers: []string{"secret\r", "secret\r"}}); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(terminal, "the end")
	shown := make([]byte, 100)
	n, err := master.Read(shown)
	if err != nil || !bytes.HasSuffix(shown[:n], []byte("the end")) || bytes.Contains(shown[:n], []byte("secret")) {
		t.Errorf("%q, %v", shown[:n], err)
	}
}
