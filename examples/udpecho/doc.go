// Command udpecho is a UDP server on the engine alone: each datagram goes back to where it came from.
//
//	go run ./examples/udpecho -listen 127.0.0.1:7007
//	nc -u 127.0.0.1 7007
//
// It keeps to the rules of a port:
//
//   - a batch is borrowed until OnDatagrams returns; what goes back is copied into the batch that leaves;
//   - a message may be a run of datagrams of one length: Segments yields each of them;
//   - an answer leaves by the address that was asked, which matters where the server has several;
//   - where the kernel takes no more, an answer is dropped, as the network may do.
//
// There is one handler for all event loops, since it has no state of its own. SIGTERM and SIGINT end the program.
package main
