package handover

import "time"

// message is what came in one piece. Owned by its receiver.
type message struct {
	bytes []byte
	fds   []int
}

// receiver receives the messages of a channel, until its end. Owned by the side that made it.
type receiver struct {
	messages chan message // closed at the end
	channel  *Channel
	quit     chan struct{}
}

// receivedMax is how many messages wait to be looked at.
const receivedMax = 4

func receiveAll(c *Channel) *receiver {
	in := &receiver{messages: make(chan message, receivedMax), channel: c, quit: make(chan struct{})}
	go in.run()
	return in
}

func (in *receiver) run() {
	defer close(in.messages)
	for {
		bytes, fds, err := in.channel.Receive(time.Time{})
		if err != nil {
			return
		}
		select {
		case in.messages <- message{append([]byte(nil), bytes...), fds}:
		case <-in.quit:
			CloseAll(fds)
			return
		}
	}
}

// stop ends the channel and waits for the goroutine.
func (in *receiver) stop() {
	close(in.quit)
	in.channel.Close()
	for m := range in.messages {
		CloseAll(m.fds)
	}
}
