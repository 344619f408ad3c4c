package health

import (
	"encoding/binary"
	"strconv"

	"github.com/edge-proxy/edge/message"
)

// grpcMax is how many bytes of the answer of a health service are kept: it is one field.
const grpcMax = 64

// servingNames are the statuses of grpc.health.v1.HealthCheckResponse.
var servingNames = [...]string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

// serving is the status that passes.
const serving = 1

// The statuses of gRPC that say more than that it failed.
const (
	grpcNotFound      = "5"
	grpcUnimplemented = "12"
)

// grpcHead judges the head of an answer to a call.
func (x *exchange) grpcHead(h *message.Head, end bool) {
	x.ended(end)
	switch {
	case h.Status != 200:
		x.fail(finding{word: status, outcome: Failed, expected: "200", got: strconv.Itoa(int(h.Status))})
	case end: // an answer without a message: its head is its trailers
		x.judgeCall(h.Get("grpc-status"))
	}
}

// judgeCall judges the answer that has come, whose grpc-status is code.
func (x *exchange) judgeCall(code string) {
	f := finding{word: grpcStatus, outcome: Failed, expected: "SERVING"}
	switch {
	case code == grpcUnimplemented:
		f.got = "no health service"
	case code == grpcNotFound:
		f.got = "it does not know the service"
	case code == "":
		f.got = "no grpc-status"
	case code != "0":
		f.got = "grpc-status " + quote([]byte(code))
	default:
		n, ok := servingStatus(x.seen)
		if ok && n == serving {
			x.pass()
			return
		}
		f.got = "no status"
		if ok && n < uint64(len(servingNames)) {
			f.got = servingNames[n]
		}
	}
	x.fail(f)
}

// servingStatus reads a message with its prefix: field 1, a number; 0 when it is left out.
func servingStatus(in []byte) (n uint64, ok bool) {
	if len(in) < 5 || in[0] != 0 || uint64(binary.BigEndian.Uint32(in[1:])) != uint64(len(in)-5) {
		return 0, false
	}
	for in = in[5:]; len(in) > 0; {
		key, size := binary.Uvarint(in)
		if size <= 0 {
			return 0, false
		}
		in = in[size:]
		v, size := binary.Uvarint(in)
		if size <= 0 {
			return 0, false
		}
		switch in = in[size:]; key & 7 {
		case 0: // a number
			if key>>3 == 1 {
				n = v
			}
		case 2: // bytes
			if v > uint64(len(in)) {
				return 0, false
			}
			in = in[v:]
		default:
			return 0, false
		}
	}
	return n, true
}
