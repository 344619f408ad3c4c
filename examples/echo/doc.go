// Command echo is a TCP server on the engine alone: what comes in goes back.
//
//	go run ./examples/echo -listen 127.0.0.1:7007
//	nc 127.0.0.1 7007
//
// It is the smallest program that keeps to all rules of the engine:
//
//   - the handler copies nothing and keeps nothing: bytes are borrowed until OnData returns;
//   - a client that sends and does not read is not read either: above the low mark of the send
//     queue reading pauses, and goes on when OnSendable comes;
//   - a client that says nothing for a minute is closed;
//   - FIN is answered when everything was sent back (NopHandler does that);
//   - SIGTERM and SIGINT drain: no new connections, open ones have five seconds.
//
// There is one handler for all connections, since it has no state of its own.
package main
