package hitratio

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestForms(t *testing.T) {
	for _, c := range []struct {
		name string
		form Form
		in   string
		want []uint64
		bad  bool
	}{
		{"arc", FormARC, "10 3 0 1\n7 1 0 2\n\n", []uint64{10, 11, 12, 7}, false},
		{"arc of no blocks", FormARC, "10 0 0 1\n", nil, false},
		{"arc, one column", FormARC, "10\n", nil, true},
		{"arc, a word", FormARC, "10 x\n", nil, true},
		{"arc, endless run", FormARC, "1 18446744073709551615\n", nil, true},
		{"lirs", FormLIRS, "5\r\n6\n* \n5", []uint64{5, 6, 5}, false},
		{"lirs, negative", FormLIRS, "-1\n", nil, true},
		{"be32", FormBE32, "\x00\x00\x01\x02\xff\xff\xff\xff", []uint64{258, 1<<32 - 1}, false},
		{"be32, torn", FormBE32, "\x00\x00\x01\x02\xff", nil, true},
		{"be64", FormBE64, "\x00\x00\x00\x00\x00\x00\x01\x02", []uint64{258}, false},
		{"nothing", FormLIRS, "", nil, false},
	} {
		keys, err := c.form(strings.NewReader(c.in))
		if !slices.Equal(keys, c.want) || errors.Is(err, ErrTrace) != c.bad || err != nil && !c.bad {
			t.Errorf("%s: %v, %v, want %v", c.name, keys, err, c.want)
		}
	}
}

func TestOpenTrace(t *testing.T) {
	folder := t.TempDir()
	plain := filepath.Join(folder, "cpp.txt")
	if err := os.WriteFile(plain, []byte("1\n2\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []uint64{1, 2, 1}
	if keys, err := OpenTrace(plain, FormLIRS); err != nil || !slices.Equal(keys, want) {
		t.Errorf("%v, %v", keys, err)
	}
	all, err := Traces(folder)
	if err != nil || len(all) != 1 || all[0].Name != "cpp" {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := Traces(t.TempDir()); err == nil {
		t.Error("a folder without traces is no error")
	}
	if _, err := OpenTrace(plain+".none", FormLIRS); err == nil {
		t.Error("a file that is missing is no error")
	}

	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("no xz in PATH")
	}
	packed, err := exec.Command("xz", "-c", plain).Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(plain+".xz", packed, 0o600); err != nil {
		t.Fatal(err)
	}
	if keys, err := OpenTrace(plain+".xz", FormLIRS); err != nil || !slices.Equal(keys, want) {
		t.Errorf("%v, %v", keys, err)
	}
	if err := os.WriteFile(plain+".xz", packed[:len(packed)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if keys, err := OpenTrace(plain+".xz", FormLIRS); err == nil {
		t.Errorf("half a file gave %v", keys)
	}
}

func FuzzForms(f *testing.F) {
	forms := []Form{FormARC, FormLIRS, FormBE32, FormBE64}
	for i := range forms {
		f.Add(uint8(i), []byte("10 3 0 1\n7,1,0,2\n12345678"))
	}
	f.Fuzz(func(t *testing.T, form uint8, in []byte) {
		if bytes.Count(in, []byte("\n")) > 100 {
			t.Skip("a hundred lines may stand for a hundred million blocks")
		}
		keys, err := forms[int(form)%len(forms)](bytes.NewReader(in))
		if err != nil && keys != nil {
			t.Error("keys together with an error")
		}
	})
}
