package upgrade

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

var update = flag.Bool("update", false, "write the bytes of frames that have no file yet")

// examples is a frame of each type of version 1.
var examples = map[string]Frame{
	"01-hello":   {1, Hello, 0, HelloBody{1, 1, Build{"1.2.3", "0badcafe"}, 4711, 2, 1 << 20}},
	"02-offer":   {1, Offer, 0, OfferBody{1, 3, GiveIdle, 300, 8050, 1, []string{ManifestFile, SecretsFile, "cache"}}},
	"03-sockets": {1, Sockets, 2, SocketsBody{253, 47}},
	"04-ready":   {1, Ready, 0, ReadyBody{[]int{0, 1, 299}}},
	"05-go":      {1, Go, 0, GoBody{}},
	"06-serving": {1, Serving, 0, ServingBody{4711}},
	"07-give":    {1, Give, 7, GiveBody{KindH1, []int{0, 12}, []uint32{0, 99}, []int64{5, 86400000}}},
	"08-own":     {1, Own, 7, OwnBody{2}},
	"09-drop":    {1, Drop, 0, DropBody{12}},
	"10-drain":   {1, Drain, 0, DrainBody{map[string]int{"h2": 4, "tls": 10}, 1}},
	"11-bye":     {1, Bye, 0, ByeBody{}},
	"12-working": {1, Working, 0, WorkingBody{"self-check"}},
	"13-refuse":  {1, Refuse, 0, RefuseBody{"edge.toml:3:1: unknown key"}},
	"14-ask":     {1, Ask, 0, AskBody{"/opt/edge-1.3/edge", false, false}},
	"15-cut":     {1, Cut, 0, CutBody{1}},
	"16-pass":    {1, Pass, 0, PassBody{true}},
}

// The bytes of a version never change: processes of two versions of edge speak it with each other.
func TestFrame_bytesOfVersion1(t *testing.T) {
	for name, f := range examples {
		path := filepath.Join("testdata", "v1", name+".bin")
		got, err := Append(nil, &f)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if _, err := os.Stat(path); err == nil {
				continue // a file that is there holds for ever
			}
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s:\n%q, want\n%q", name, got, want)
		}
		back, err := Parse(want)
		if err != nil || !reflect.DeepEqual(*back, f) {
			t.Errorf("%s: parsed %+v, %v", name, back, err)
		}
	}
	if files, _ := filepath.Glob("testdata/v1/*.bin"); len(files) != len(examples) {
		t.Errorf("%d files, %d frames", len(files), len(examples))
	}
}

func message(head, body string) []byte { return []byte("EDGU" + head + "\x00\x00\x00\x00" + body) }

func TestParse_ofOtherVersions(t *testing.T) {
	for _, c := range []struct {
		name    string
		message []byte
		err     string // "": none
		known   bool
	}{
		{"an unknown field", message("\x00\x01\x00\x05", `{"bit":1,"color":"red"}`), "", true},
		{"a marked field that is known", message("\x00\x01\x00\x06", `{"pid":1,"must":["pid"]}`), "", true},
		{"a marked field that is not", message("\x00\x01\x00\x05", `{"hue":2,"must":["hue"]}`), `field "hue"`, false},
		{"an unknown type", message("\x00\x01\x01\x00", "not even JSON"), "", false},
		{"a marked type that is not known", message("\x00\x01\x81\x00", "{}"), "type 33024", false},
		{"a marked type that is known", message("\x00\x01\x80\x05", `{"bit":1}`), "", true},
		{"a later version", message("\x00\x09\x00\x05", `{"bit":1}`), "", true},
		{"no version", message("\x00\x00\x00\x05", `{}`), "without a version", false},
		{"no body", message("\x00\x01\x00\x05", ""), "", true},
		{"a body of another form", message("\x00\x01\x00\x05", `[1]`), "GO: ", false},
		{"another protocol", []byte("GET / HTTP/1.1\r\n\r\n"), "another protocol", false},
		{"nothing", nil, "too short", false},
		{"too much", message("\x00\x01\x00\x05", strings.Repeat(" ", MessageMax)), "too long", false},
	} {
		f, err := Parse(c.message)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v", c.name, err)
		} else if err == nil && (f.Body != nil) != c.known {
			t.Errorf("%s: body %v", c.name, f.Body)
		}
	}
	long := RefuseBody{strings.Repeat("x", MessageMax)}
	if _, err := Append(nil, &Frame{1, Refuse, 0, long}); !errors.Is(err, errLong) {
		t.Errorf("a body that is too long: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, e := range examples {
		b, _ := Append(nil, &e)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := Parse(b)
		if err != nil || frame.Body == nil {
			return
		}
		again, err := Append(nil, frame)
		if errors.Is(err, errLong) {
			return // JSON may be written shorter than we write it
		}
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Parse(again); err != nil || !reflect.DeepEqual(back, frame) {
			t.Fatalf("%+v came back as %+v, %v", frame, back, err)
		}
	})
}

// Whatever one side says, the other neither panics nor takes back what a living process has.
func FuzzMachines(f *testing.F) {
	var all []byte
	for _, e := range examples {
		b, _ := Append(nil, &e)
		all = append(append(all, byte(len(b)>>8), byte(len(b))), b...)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, b []byte) {
		now := time.Unix(1, 0)
		o := BeginOld(Times{}, OfferBody{Give: GiveIdle, Sockets: 300}, now)
		n, _ := BeginNew(Times{}, HelloBody{}, now)
		for len(b) >= 2 {
			size := min(int(b[0])<<8|int(b[1]), len(b)-2)
			m := b[2 : 2+size]
			b = b[2+size:]
			for _, a := range o.Receive(m, now) {
				switch a.Do {
				case Resume:
					t.Fatalf("taken back after %q", m)
				case Suspend:
					o.Suspended(nil, now)
				}
			}
			for _, a := range n.Receive(m, size%FilesMax, now) {
				if a.Do == Load {
					n.Loaded(nil, now)
				}
			}
			if o.Room() > 0 {
				o.Give(GiveBody{KindH1, []int{0}, []uint32{0}, []int64{0}})
			}
			now = now.Add(500 * time.Millisecond)
			o.Tick(now)
			n.Tick(now)
		}
		o.End()
		n.End(now)
	})
}

func TestOld_refusesOtherVersions(t *testing.T) {
	now := time.Unix(1, 0)
	for _, c := range []struct {
		min, max, want int
	}{{1, 1, 1}, {1, 7, 1}, {2, 7, 0}, {0, 0, 0}} {
		o := BeginOld(Times{}, OfferBody{Sockets: 1}, now)
		m, _ := Append(nil, &Frame{1, Hello, 0, HelloBody{Min: c.min, Max: c.max, Free: 1000}})
		do := o.Receive(m, now)
		switch first := do[0].Frame; {
		case c.want == 0 && (first.Type != Refuse || do[1].Do != Kill):
			t.Errorf("versions %d to %d: %v", c.min, c.max, first)
		case c.want > 0 && (first.Type != Offer || first.Body.(OfferBody).Version != c.want):
			t.Errorf("versions %d to %d: %+v", c.min, c.max, first)
		}
	}
}

// yieldedOld is the machine of an old process whose successor serves.
func yieldedOld(t *testing.T) *Old {
	t.Helper()
	now := time.Unix(1, 0)
	o := BeginOld(Times{}, OfferBody{Give: GiveIdle, Sockets: 3}, now)
	for _, f := range []Frame{
		{1, Hello, 0, HelloBody{Min: 1, Max: 1, Free: 1000}}, {1, Ready, 0, ReadyBody{[]int{0}}}, {1, Serving, 0, nil},
	} {
		m, _ := Append(nil, &f)
		for _, a := range o.Receive(m, now) {
			if a.Do == Suspend {
				o.Suspended(nil, now)
			}
		}
	}
	if !o.Yielded() {
		t.Fatal("it does not serve")
	}
	return o
}

// A number that no batch has, a count that no batch can have, and an acknowledgement that comes twice do nothing.
func TestOld_strayOwn(t *testing.T) {
	o := yieldedOld(t)
	two := GiveBody{KindH1, []int{0, 0}, []uint32{0, 0}, []int64{0, 0}}
	number, _ := o.Give(two)
	own := func(number uint32, count int) []Action {
		m, _ := Append(nil, &Frame{1, Own, number, OwnBody{count}})
		return o.Receive(m, time.Unix(1, 0))
	}
	for _, c := range []struct {
		number uint32
		count  int
	}{{0, 2}, {number + 1, 2}, {number, 3}, {number, -1}} {
		if do := own(c.number, c.count); do != nil {
			t.Errorf("OWN %d with %d: %v", c.number, c.count, do)
		}
	}
	if do := own(number, 2); len(do) != 1 || do[0].Do != Release || do[0].Count != 2 || o.Unconfirmed() != 0 {
		t.Errorf("OWN: %v", do)
	}
	if do := own(number, 2); do != nil {
		t.Errorf("OWN twice: %v", do)
	}
}

// The kernel drops what the new process has no room for. What did not arrive stays with the old one, which gives no
// more.
func TestOld_truncatedBatch(t *testing.T) {
	o := yieldedOld(t)
	number, _ := o.Give(GiveBody{KindH1, []int{0, 0, 0}, []uint32{0, 0, 0}, []int64{0, 0, 0}})
	m, _ := Append(nil, &Frame{1, Own, number, OwnBody{1}})
	if do := o.Receive(m, time.Unix(1, 0)); len(do) != 1 || do[0].Do != Release || do[0].Count != 1 {
		t.Errorf("OWN: %v", do)
	}
	if o.Room() != 0 {
		t.Error("it gives more")
	}
}

func TestNew_tooFewDescriptors(t *testing.T) {
	w := newWorld(t, 1)
	w.room = 100
	w.run()
	if !w.oldAccepts || w.aborted == nil || !strings.Contains(w.aborted.Error(), "100 of 300 descriptors") ||
		w.result == nil || !strings.Contains(w.result.Error(), "RLIMIT_NOFILE") {
		t.Errorf("new: %v, old: %v", w.aborted, w.result)
	}
}

// A new process that has no room for the connections gets the sockets alone, one that has none for these gets nothing.
func TestOld_looksAtFreeDescriptors(t *testing.T) {
	now := time.Unix(1, 0)
	for free, want := range map[int]string{0: "", 363: "", 364: GiveNone, 1493: GiveNone, 1494: GiveIdle} {
		o := BeginOld(Times{}, OfferBody{Give: GiveIdle, Sockets: 300, Conns: 1000}, now)
		m, _ := Append(nil, &Frame{1, Hello, 0, HelloBody{Min: 1, Max: 1, Free: free}})
		got := ""
		if b, ok := o.Receive(m, now)[0].Frame.Body.(OfferBody); ok {
			got = b.Give
		}
		if got != want {
			t.Errorf("%d free: gives %q, want %q", free, got, want)
		}
	}
}

func TestUpgrade_failedLoad(t *testing.T) {
	w := newWorld(t, 1)
	w.failLoad = errTest
	w.run()
	if !w.oldAccepts || w.resumed || !errors.Is(w.aborted, errTest) || w.result == nil ||
		!strings.Contains(w.result.Error(), errTest.Error()) {
		t.Errorf("new: %v, old: %v", w.aborted, w.result)
	}
}

// An old process that cannot stop accepting gives up before GO, and the new one hears why.
func TestUpgrade_failedSuspend(t *testing.T) {
	w := newWorld(t, 1)
	w.failSuspend = errTest
	w.run()
	if !w.oldAccepts || w.newAccepts || w.resumed || !errors.Is(w.result, errTest) ||
		slices.Contains(w.frames, "GO") || w.frames[len(w.frames)-1] != "REFUSE" {
		t.Errorf("old: %v, frames %v", w.result, w.frames)
	}
	if do := yieldedOld(t).Suspended(errTest, w.now); do != nil {
		t.Errorf("after GO: %v", do)
	}
}

func TestUpgrade_neverReady(t *testing.T) {
	w := newWorld(t, 1)
	w.loadTime = time.Hour
	begun := w.now
	w.run()
	if !w.oldAccepts || !errors.Is(w.result, errNotReady) || w.now.Sub(begun) > 2*time.Hour {
		t.Errorf("old: %v, after %v", w.result, w.now.Sub(begun))
	}
}

func TestOld_cancelled(t *testing.T) {
	w := newWorld(t, 1)
	w.fault = func(w *world, point string) {
		if point == "4 new after" { // the first WORKING
			w.doOld(w.old.Cancel(errTest))
		}
	}
	w.run()
	if !w.oldAccepts || !errors.Is(w.result, errTest) || w.newAccepts {
		t.Errorf("old: %v", w.result)
	}
	o := yieldedOld(t)
	if do := o.Cancel(errTest); do != nil {
		t.Errorf("after GO: %v", do)
	}
}

// The new process ends after a further one has taken over from it: the old one takes nothing back but connections that
// nobody has read from, unless the new one serves again by then.
func TestOld_passed(t *testing.T) {
	for _, c := range []struct {
		name   string
		passed []bool
		gives  int
		want   []Verb
	}{
		{"a further process serves", []bool{true}, 2, []Verb{Keep, CloseSocket, Finish}},
		{"a further process serves, no batch is under way", []bool{true}, 0, []Verb{Keep, CloseSocket, Finish}},
		{"it has ended", []bool{true, false}, 1, []Verb{Resume, Finish}},
		{"there is none", nil, 1, []Verb{Resume, Finish}},
	} {
		o := yieldedOld(t)
		for range c.gives {
			o.Give(GiveBody{Kind: KindH1, Listeners: []int{0}, Requests: []uint32{0}, Ages: []int64{0}})
		}
		for _, passed := range c.passed {
			m, _ := Append(nil, &Frame{1, Pass, 0, PassBody{passed}})
			if do := o.Receive(m, time.Unix(1, 0)); do != nil {
				t.Errorf("%s: %v", c.name, do)
			}
		}
		var got []Verb
		for _, a := range o.End() {
			got = append(got, a.Do)
			if a.Do == Finish && (a.Err == nil) != (c.want[0] == Keep) ||
				(a.Do == Keep || a.Do == Resume) && len(a.Batches) != c.gives {
				t.Errorf("%s: %+v", c.name, a)
			}
		}
		if !slices.Equal(got, c.want) || o.Unconfirmed() != 0 {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// CUT reaches the machine of a process that drains, and no other one.
func TestOld_cut(t *testing.T) {
	m, _ := Append(nil, &Frame{1, Cut, 0, CutBody{1}})
	if do := yieldedOld(t).Receive(m, time.Unix(1, 0)); len(do) != 1 || do[0].Do != EndDraining || do[0].Before != 1 {
		t.Errorf("%v", do)
	}
	if do := BeginOld(Times{}, OfferBody{}, time.Unix(1, 0)).Receive(m, time.Unix(1, 0)); do != nil {
		t.Errorf("before it drains: %v", do)
	}
}

func TestNew_tellsWhatItClosed(t *testing.T) {
	o := yieldedOld(t)
	for socket, want := range map[int]int{0: 1, 2: 1, 3: 0, -1: 0} {
		m, _ := Append(nil, &Frame{1, Drop, 0, DropBody{socket}})
		do := o.Receive(m, time.Unix(1, 0))
		if len(do) != want || want == 1 && (do[0].Do != CloseSocket || do[0].Socket != socket) {
			t.Errorf("DROP %d: %v", socket, do)
		}
	}
}

func TestMain(m *testing.M) { os.Exit(testutil.Main(m)) }
