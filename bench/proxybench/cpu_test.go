package proxybench

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const tail = " 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 5000 1000 200"
	for in, want := range map[string]stat{
		"42 (nginx) S 7 42 42 0" + tail[2:]:        {parent: 7, cpu: 2 * time.Second},
		"42 (a (odd) name) R 1 42 42 0" + tail[2:]: {parent: 1, cpu: 2 * time.Second},
	} {
		if got, err := parseStat([]byte(in)); err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "42 nginx S 7", "42 (nginx) S 7 1 1", "42 (nginx) S x" + tail} {
		if _, err := parseStat([]byte(in)); err == nil {
			t.Errorf("%q: no error", in)
		}
	}
}

func TestKibField(t *testing.T) {
	status := []byte("Name:\tedge\nVmHWM:\t    9000 kB\nVmRSS:\t    8192 kB\n")
	if got := kibField(status, "VmRSS:"); got != 8192 {
		t.Errorf("VmRSS is %d", got)
	}
	if got := kibField(status, "Pss:"); got != 0 {
		t.Errorf("a field that is not there is %d", got)
	}
}

// Both ways to ask must tell the same time of a process that does not run meanwhile.
func TestProcessTime_agreesWithProc(t *testing.T) {
	c := exec.Command("sh", "-c", "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; echo done; read line")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Skip(err)
	}
	defer func() {
		_ = in.Close()
		_ = c.Wait()
	}()
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	pid := c.Process.Pid
	clock, err := processTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := parseStat(b); err != nil || clock <= 0 || (clock-s.cpu).Abs() > 40*time.Millisecond {
		t.Errorf("the clock says %v, stat %v, %v", clock, s.cpu, err)
	}
}

func TestProcessTree_findsGrandchildren(t *testing.T) {
	c := exec.Command("sh", "-c", "sh -c 'echo ready; read line; :'; :")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Skip(err)
	}
	defer func() {
		_ = in.Close()
		_ = c.Wait()
	}()
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if tree := processTree(c.Process.Pid); len(tree) != 2 || tree[0] != c.Process.Pid {
		t.Errorf("tree of %d is %v, want it and its child", c.Process.Pid, tree)
	}
	if own := processTree(os.Getpid()); !slices.Contains(own, c.Process.Pid) || len(own) < 3 {
		t.Errorf("own tree %v lacks %d or its child", own, c.Process.Pid)
	}
}

func TestMemoryOf_self(t *testing.T) {
	m := memoryOf([]int{os.Getpid()})
	if m.RSS <= 0 || m.Peak < m.RSS {
		t.Errorf("got %+v", m)
	}
}
