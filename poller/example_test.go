package poller_test

import (
	"fmt"
	"log"
	"net/netip"
	"syscall"

	"github.com/edge-proxy/edge/poller"
)

// One goroutine has both ends of a TCP connection, and does what the kernel says can be done.
func Example() {
	k, err := poller.NewEpoll(poller.ParkAuto)
	if err != nil {
		log.Fatal(err)
	}
	defer k.Shut()
	listener, addr, err := k.Listen(poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}, &poller.ListenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	client, errno := k.Connect(addr, &poller.ConnectOptions{})
	if errno != 0 && errno != syscall.EINPROGRESS {
		log.Fatal(errno)
	}
	const listening, connecting, accepted = 1, 2, 3 // a program has a table of connections: these are places in it
	k.Add(listener, poller.MakeToken(0, listening))
	k.Add(client, poller.MakeToken(0, connecting))

	server, buf, events := poller.NoFD, make([]byte, 1024), make([]poller.Event, 16)
	for sent, done := false, false; !done; {
		n := k.Wait(events, -1)
		for _, ev := range events[:n] {
			switch ev.Token.Slot() {
			case listening:
				server, _, _ = k.Accept(listener)
				k.Add(server, poller.MakeToken(0, accepted))
			case connecting:
				if ev.Ready&poller.CanWrite != 0 && !sent { // it is connected
					sent = true
					k.WriteLast(client, []byte("hello"))
					k.CloseWrite(client)
				}
			case accepted:
				for { // until EAGAIN: what can be read is told once
					n, errno := k.Read(server, buf)
					if done = n == 0 && errno == 0; done || errno != 0 {
						break
					}
					fmt.Printf("%s\n", buf[:n])
				}
			}
		}
	}
	for _, fd := range []poller.FD{server, client, listener} {
		k.Close(fd)
	}
	// Output: hello
}
