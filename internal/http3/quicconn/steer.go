package quicconn

import "github.com/edge-proxy/edge/poller"

// The instructions of classic BPF, and their operands.
const (
	bpfLoadOctet  = 0x30 // A = octet k
	bpfLoadOctetX = 0x50 // A = octet X + k
	bpfLoadWordX  = 0x40 // A = 4 octets from X + k on
	bpfX          = 0x01 // X = k
	bpfXOf        = 0x61 // X = M[k]
	bpfStore      = 0x02 // M[k] = A
	bpfStoreX     = 0x03 // M[k] = X
	bpfXFromA     = 0x07 // X = A
	bpfMultiply   = 0x24 // A *= k
	bpfModulo     = 0x94 // A %= k
	bpfAnd        = 0x54 // A &= k
	bpfShift      = 0x74 // A >>= k
	bpfXorX       = 0xac // A ^= X
	bpfJump       = 0x05
	bpfIfAny      = 0x45 // jump by Jt where A & k is not 0, else by Jf
	bpfReturnA    = 0x16
)

// Steer returns a program by which the kernel gives each datagram to the socket of the reactor that its id names, for
// engine.ListenOptions. The id that a client begins with is random, so that new connections are spread, and all
// packets of a ClientHello meet. Without it, and for what begins with another id, reactors send each other the
// datagrams. Safe for any goroutine.
func (s *Server) Steer(sockets int) []poller.Instruction {
	const (
		idShort, idLong    = 1, 6 // where the id is, by the form of the header (RFC 9000 §17)
		placeOf, maskOctet = 0, 1 // in M
	)
	return []poller.Instruction{
		{Code: bpfLoadOctet},
		{Code: bpfIfAny, Jt: 2, K: 0x80},
		{Code: bpfX, K: idShort},
		{Code: bpfJump, K: 1},
		{Code: bpfX, K: idLong},
		{Code: bpfStoreX, K: placeOf},
		{Code: bpfLoadWordX, K: 1}, // as mask does
		{Code: bpfMultiply, K: s.keys.first},
		{Code: bpfXFromA},
		{Code: bpfShift, K: 15},
		{Code: bpfXorX},
		{Code: bpfMultiply, K: s.keys.second},
		{Code: bpfShift, K: 24},
		{Code: bpfStore, K: maskOctet},
		{Code: bpfXOf, K: placeOf},
		{Code: bpfLoadOctetX},
		{Code: bpfXOf, K: maskOctet},
		{Code: bpfXorX},
		{Code: bpfAnd, K: reactorsMax - 1},
		{Code: bpfModulo, K: uint32(min(sockets, reactorsMax))},
		{Code: bpfReturnA},
	}
}
