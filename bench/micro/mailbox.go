package micro

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/engine"
)

// mailWindow is how many messages one goroutine has in flight at most.
const mailWindow = 256

var mailboxEntries = []Entry{
	{"mailbox/post/edge", "work for another goroutine", "Reactor.Post from a goroutine, at most 256 under way; " +
		"running it is in it", postMail},
	{"mailbox/post/channel", "work for another goroutine", "a send on a channel with room for 256, to a goroutine " +
		"that runs it", postChannel},
	{"mailbox/round-trip/edge", "work for another goroutine", "Reactor.Post to a reactor that sleeps, whose answer " +
		"comes by a channel", mailRoundTrip},
	{"mailbox/round-trip/channel", "work for another goroutine", "a send to a goroutine that waits, whose answer " +
		"comes by a channel", channelRoundTrip},
}

// startReactor runs an engine of one reactor until b ends.
func startReactor(b *testing.B) *engine.Reactor {
	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		b.Fatal(err)
	}
	e.Start()
	b.Cleanup(e.Stop)
	return e.Reactors()[0]
}

func postMail(b *testing.B) {
	r := startReactor(b)
	var ran atomic.Int64
	tasks := make([]engine.Task, mailWindow)
	for i := range tasks {
		tasks[i].Run = func(*engine.Reactor) { ran.Add(1) }
	}
	sent := int64(0)
	for b.Loop() {
		for sent-ran.Load() >= mailWindow { // the task has not run yet: they run in order
			runtime.Gosched()
		}
		r.Post(&tasks[sent%mailWindow])
		sent++
	}
	for ran.Load() < sent {
		runtime.Gosched()
	}
}

func postChannel(b *testing.B) {
	var ran atomic.Int64
	work, ended := make(chan func(), mailWindow), make(chan struct{})
	go func() {
		defer close(ended)
		for run := range work {
			run()
		}
	}()
	run := func() { ran.Add(1) }
	for b.Loop() {
		work <- run
	}
	close(work)
	<-ended
}

func mailRoundTrip(b *testing.B) {
	r := startReactor(b)
	done := make(chan struct{}, 1)
	t := &engine.Task{Run: func(*engine.Reactor) { done <- struct{}{} }}
	for b.Loop() {
		r.Post(t)
		<-done
	}
}

func channelRoundTrip(b *testing.B) {
	work, done := make(chan func(), 1), make(chan struct{}, 1)
	defer close(work)
	go func() {
		for run := range work {
			run()
		}
	}()
	run := func() { done <- struct{}{} }
	for b.Loop() {
		work <- run
		<-done
	}
}
