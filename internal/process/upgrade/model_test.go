package upgrade

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// world is two processes with a channel, as the kernel would keep them: a message of a dead process stays readable, and
// the end of the channel comes after it.
type world struct {
	t     testing.TB
	now   time.Time
	rand  *rand.Rand
	old   *Old
	new   *New
	toOld [][]byte
	toNew []parcel

	oldDead, newDead       bool
	oldStopped, newStopped time.Time // not running until then
	oldEnded, newEnded     bool      // the end of the channel was told
	oldAccepts, newAccepts bool
	named                  string // whose number the pid file has
	loadTime               time.Duration
	loaded                 time.Time // when the load is done; zero: no load
	failLoad               error
	failSuspend            error // why the old process cannot stop accepting; nil: it can
	room                   int   // descriptors that fit into one message to the new process

	owner   map[int]string // of each connection: "old", "new", "way"; absent: lost with its owner
	batches map[uint32][]int
	resumed bool
	result  error
	done    bool // the old one is done with the hand-over
	aborted error

	sent   int // frames, of both
	fault  func(w *world, point string)
	frames []string
}

type parcel struct {
	message []byte
	files   []int // connections or sockets
}

const (
	worldSockets = 300
	worldConns   = 1200
)

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{
		t: t, now: time.Unix(1000, 0), rand: rand.New(rand.NewPCG(seed, 13)), oldAccepts: true, named: "old",
		loadTime: 2500 * time.Millisecond, room: FilesMax, owner: map[int]string{}, batches: map[uint32][]int{},
	}
	for c := range worldConns {
		w.owner[c] = "old"
	}
	w.old = BeginOld(Times{}, OfferBody{Give: GiveIdle, Sockets: worldSockets, Files: []string{ManifestFile}}, w.now)
	var do []Action
	w.new, do = BeginNew(Times{}, HelloBody{PID: 2, Free: 1 << 20}, w.now)
	w.doNew(do)
	return w
}

func (w *world) oldRuns() bool { return !w.oldDead && !w.now.Before(w.oldStopped) }
func (w *world) newRuns() bool { return !w.newDead && !w.now.Before(w.newStopped) }

// doOld does what the machine of the old process asks for.
func (w *world) doOld(do []Action) {
	for _, a := range do {
		if w.oldDead {
			return
		}
		switch a.Do {
		case Send:
			w.send(a.Frame, true)
		case Suspend:
			w.oldAccepts = w.failSuspend != nil
			w.doOld(w.old.Suspended(w.failSuspend, w.now))
		case Resume:
			if !w.newDead {
				w.t.Fatalf("taken back from a process that lives: %v", a.Err)
			}
			w.oldAccepts, w.named, w.resumed = true, "old", true
			for _, b := range a.Batches {
				w.back(b, 0)
			}
		case Keep:
			for _, b := range a.Batches {
				w.back(b, 0)
			}
		case Release:
			for _, c := range w.batches[a.Batch][:a.Count] {
				if w.owner[c] != "new" && !w.newDead {
					w.t.Fatalf("connection %d released, and it is of %q", c, w.owner[c])
				}
			}
			w.back(a.Batch, a.Count)
		case Kill:
			w.newDead = true
		case Finish:
			w.done, w.result = true, a.Err
		}
		w.check()
	}
}

// back gives connections of a batch back to the old process, from the one with that index on.
func (w *world) back(batch uint32, from int) {
	for _, c := range w.batches[batch][from:] {
		w.own(c, "old")
	}
	delete(w.batches, batch)
}

// own changes an owner. A connection of two owners would be answered twice.
func (w *world) own(c int, to string) {
	if from := w.owner[c]; from == "old" && !w.oldDead || from == "new" && !w.newDead {
		w.t.Fatalf("connection %d is of %s and goes to %s", c, from, to)
	}
	w.owner[c] = to
}

// doNew does what the machine of the new process asks for.
func (w *world) doNew(do []Action, files ...int) {
	for _, a := range do {
		if w.newDead {
			return
		}
		switch a.Do {
		case Send:
			w.send(a.Frame, false)
		case Load:
			w.loaded = w.now.Add(w.loadTime)
		case Accept:
			w.newAccepts = true
		case TakeNames:
			w.named = "new"
		case Receive:
			for _, c := range files[:len(a.Given.Listeners)] {
				w.own(c, "new")
			}
		case Abort:
			w.newDead, w.aborted = true, a.Err
		}
		w.check()
	}
}

// send puts a frame into the channel, and lets the fault happen before and after it.
func (w *world) send(f *Frame, byOld bool) {
	side := "new"
	if byOld {
		side = "old"
	}
	if w.fault != nil {
		w.fault(w, fmt.Sprintf("%d %s before", w.sent, side))
	}
	if byOld && w.oldDead || !byOld && w.newDead {
		for _, c := range w.batches[f.Number] {
			if f.Type == Give {
				w.owner[c] = "old" // the batch never left it
			}
		}
		return
	}
	w.sent++
	w.frames = append(w.frames, f.Type.String())
	message, err := Append(nil, f)
	if err != nil {
		w.t.Fatal(err)
	}
	if !byOld {
		w.toOld = append(w.toOld, message)
	} else {
		p := parcel{message: message}
		switch b := f.Body.(type) {
		case OfferBody:
			p.files = make([]int, len(b.Files))
		case SocketsBody:
			p.files = make([]int, b.Count)
		case GiveBody:
			p.files = w.batches[f.Number]
		}
		w.toNew = append(w.toNew, p)
	}
	if w.fault != nil {
		w.fault(w, fmt.Sprintf("%d %s after", w.sent-1, side))
	}
}

// give sends as many batches as may be under way, and ends when nothing is left.
func (w *world) give() {
	for w.oldRuns() && w.old.Room() > 0 {
		var batch []int
		for c := range worldConns {
			if w.owner[c] == "old" && len(batch) < FilesMax {
				batch = append(batch, c)
			}
		}
		if len(batch) == 0 {
			if w.old.Unconfirmed() == 0 {
				w.doOld(w.old.Drained())
			}
			return
		}
		w.batches[w.old.given+1] = batch
		for _, c := range batch {
			w.owner[c] = "way"
		}
		n := len(batch)
		_, do := w.old.Give(GiveBody{KindH1, make([]int, n), make([]uint32, n), make([]int64, n)})
		w.doOld(do)
	}
}

// has reports whether a process has connections.
func (w *world) has(owner string) bool {
	for _, of := range w.owner {
		if of == owner {
			return true
		}
	}
	return false
}

// step lets one thing happen, drawn from those that can. It reports whether there was any.
func (w *world) step() bool {
	var can []func()
	if w.oldRuns() {
		can = append(can, w.stepsOfOld()...)
	}
	if w.newRuns() {
		can = append(can, w.stepsOfNew()...)
	}
	if len(can) == 0 {
		return w.pass()
	}
	can[w.rand.IntN(len(can))]()
	w.check()
	return true
}

func (w *world) stepsOfOld() (can []func()) {
	switch {
	case len(w.toOld) > 0:
		can = append(can, func() {
			m := w.toOld[0]
			w.toOld = w.toOld[1:]
			w.doOld(w.old.Receive(m, w.now))
		})
	case w.newDead && !w.oldEnded:
		can = append(can, func() { w.oldEnded = true; w.doOld(w.old.End()) })
	case w.old.Yielded() && w.old.Room() > 0 && (w.old.Unconfirmed() == 0 || w.has("old")):
		can = append(can, w.give)
	}
	if at := w.old.Deadline(); !at.IsZero() && !w.now.Before(at) {
		can = append(can, func() { w.doOld(w.old.Tick(w.now)) })
	}
	return can
}

func (w *world) stepsOfNew() (can []func()) {
	switch {
	case len(w.toNew) > 0:
		can = append(can, func() {
			p := w.toNew[0]
			w.toNew = w.toNew[1:]
			files := p.files[:min(len(p.files), w.room)]
			w.doNew(w.new.Receive(p.message, len(files), w.now), files...)
		})
	case (w.oldDead || w.done) && !w.newEnded:
		can = append(can, func() { w.newEnded = true; w.doNew(w.new.End(w.now)) })
	}
	if at := w.new.Deadline(); !at.IsZero() && !w.now.Before(at) {
		can = append(can, func() { w.doNew(w.new.Tick(w.now)) })
	}
	if !w.loaded.IsZero() && !w.now.Before(w.loaded) {
		can = append(can, func() {
			w.loaded = time.Time{}
			if w.failLoad != nil {
				w.doNew(w.new.Failed(w.failLoad))
				return
			}
			claims := make([]int, w.new.Arrived())
			for i := range claims {
				claims[i] = i
			}
			w.doNew(w.new.Loaded(claims, w.now))
		})
	}
	return can
}

// pass lets time pass until the next thing can happen.
func (w *world) pass() bool {
	var next time.Time
	earlier := func(at time.Time, lives bool) {
		if lives && at.After(w.now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	earlier(w.old.Deadline(), !w.oldDead)
	earlier(w.new.Deadline(), !w.newDead)
	earlier(w.loaded, !w.newDead)
	earlier(w.oldStopped, !w.oldDead)
	earlier(w.newStopped, !w.newDead)
	if next.IsZero() {
		return false
	}
	w.now = next
	return true
}

func (w *world) check() {
	if w.oldAccepts && w.newAccepts && !w.oldDead && !w.newDead {
		w.t.Fatalf("both accept, after %v", w.frames)
	}
}

// run lets everything happen, and checks what must hold in the end.
func (w *world) run() {
	for steps := 0; w.step(); steps++ {
		if steps > 100_000 {
			w.t.Fatalf("it never ends, after %v", w.frames)
		}
	}
	oldLives, newLives := !w.oldDead && (!w.done || w.result != nil), !w.newDead // after BYE the old one ends
	switch {
	case newLives && w.newAccepts && (w.named != "new"):
		w.t.Errorf("the new process serves, and the names are of %s", w.named)
	case oldLives && w.oldAccepts && w.named != "old":
		w.t.Errorf("the old process serves, and the names are of %s", w.named)
	}
	if (oldLives || newLives) && !(oldLives && w.oldAccepts || newLives && w.newAccepts) {
		w.t.Errorf("old lives %v, new lives %v, and nobody accepts: %v", oldLives, newLives, w.frames)
	}
	for c := range worldConns {
		of := w.owner[c]
		if of == "way" && (oldLives && !w.done || newLives && w.newAccepts) {
			w.t.Fatalf("connection %d is lost, %q: %v", c, of, w.frames)
		}
	}
}

var errTest = errors.New("edge.toml:3: something is wrong")

// whole are the frames of an upgrade, in the order in which they are sent.
func wholeUpgrade(t *testing.T, seed uint64) []string {
	w := newWorld(t, seed)
	w.run()
	if !w.done || w.result != nil || w.aborted != nil || !w.newAccepts || w.oldAccepts || w.named != "new" {
		t.Fatalf("old: %v, new: %v, %v", w.result, w.aborted, w.frames)
	}
	for c, of := range w.owner {
		if of != "new" {
			t.Fatalf("connection %d is of %q", c, of)
		}
	}
	return w.frames
}

func TestUpgrade_whole(t *testing.T) {
	for seed := range uint64(50) {
		frames := wholeUpgrade(t, seed)
		want := []string{"HELLO", "OFFER", "SOCKETS", "SOCKETS", "WORKING", "WORKING", "READY", "GO", "SERVING", "GIVE"}
		if len(frames) < len(want) || !slices.Equal(frames[:len(want)], want) || frames[len(frames)-1] != "BYE" {
			t.Fatalf("seed %d: %v", seed, frames)
		}
	}
}

// Whichever side is killed or stopped, before or after whichever frame: one accepts while one lives, no connection has
// two owners, and none is lost that a living process could have.
func TestUpgrade_faultsAtEveryFrame(t *testing.T) {
	frames := len(wholeUpgrade(t, 1))
	faults := map[string]func(w *world){
		"old killed":          func(w *world) { w.oldDead = true },
		"new killed":          func(w *world) { w.newDead = true },
		"both killed":         func(w *world) { w.oldDead, w.newDead = true, true },
		"old stopped 1 s":     func(w *world) { w.oldStopped = w.now.Add(time.Second) },
		"old stopped 90 s":    func(w *world) { w.oldStopped = w.now.Add(90 * time.Second) },
		"new stopped 1 s":     func(w *world) { w.newStopped = w.now.Add(time.Second) },
		"new stopped 30 s":    func(w *world) { w.newStopped = w.now.Add(30 * time.Second) },
		"new stopped 90 s":    func(w *world) { w.newStopped = w.now.Add(90 * time.Second) },
		"new stopped, killed": func(w *world) { w.newStopped, w.newDead = w.now.Add(time.Hour), true },
	}
	for name, fault := range faults {
		for _, when := range []string{"before", "after"} {
			for frame := range frames {
				for seed := range uint64(4) {
					w := newWorld(t, seed)
					w.fault = func(w *world, point string) {
						if slices.Contains([]string{"old", "new"}, strings.TrimSuffix(
							strings.TrimPrefix(point, fmt.Sprint(frame)+" "), " "+when)) {
							fault(w)
						}
					}
					w.run()
					if t.Failed() {
						t.Fatalf("%s %s frame %d, seed %d: %v", name, when, frame, seed, w.frames)
					}
				}
			}
		}
	}
}

// Two faults at drawn frames.
func TestUpgrade_faultsAtRandom(t *testing.T) {
	for seed := range uint64(3000) {
		w := newWorld(t, seed)
		w.loadTime = time.Duration(w.rand.IntN(100_000)) * time.Millisecond
		if w.rand.IntN(10) == 0 {
			w.failSuspend = errTest
		}
		w.fault = func(w *world, _ string) {
			for _, until := range []*time.Time{&w.oldStopped, &w.newStopped} {
				if w.rand.IntN(30) == 0 {
					*until = w.now.Add(time.Duration(w.rand.IntN(40_000)) * time.Millisecond)
				}
			}
			switch w.rand.IntN(60) {
			case 0:
				w.oldDead = true
			case 1:
				w.newDead = true
			}
		}
		w.run()
		if t.Failed() {
			t.Fatalf("seed %d: %v", seed, w.frames)
		}
	}
}
