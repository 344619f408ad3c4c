package upgrade

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// Version is the version of the protocol that this package speaks, and VersionMin the lowest one.
const (
	Version    = 1
	VersionMin = 1
)

const (
	// MessageMax is how many bytes a frame has at most. A batch of FilesMax connections needs a sixth of it.
	MessageMax = 64 << 10
	// FilesMax is how many descriptors a frame carries at most: SCM_MAX_FD of the kernel.
	FilesMax = 253
)

// Type is the type of a frame.
type Type uint16

// The types of version 1. Their numbers never change.
const (
	Hello   Type = 1 + iota // new: here I am
	Offer                   // old: what comes
	Sockets                 // old: listening sockets
	Ready                   // new: everything but accepting is done
	Go                      // old: I accept no more
	Serving                 // new: I accept
	Give                    // old: connections
	Own                     // new: they are mine
	Drop                    // new: a socket that I have closed
	Drain                   // old: how many connections are left
	Bye                     // old: nothing is left
	Working                 // new: not ready yet
	Refuse                  // either: no, and why
	Ask                     // a command: upgrade, and tell by WORKING, then by SERVING or REFUSE
	Cut                     // new: end one of the processes that drain
	Pass                    // new: a further process serves by now
)

// must marks a type that the receiver has to know.
const must Type = 0x8000

// types are the types by their numbers: their names, and what parses their bodies.
var types = [...]struct {
	name  string
	parse func(text []byte) (body any, err error)
}{
	Hello:   {"HELLO", bodyOf[HelloBody]},
	Offer:   {"OFFER", bodyOf[OfferBody]},
	Sockets: {"SOCKETS", bodyOf[SocketsBody]},
	Ready:   {"READY", bodyOf[ReadyBody]},
	Go:      {"GO", bodyOf[GoBody]},
	Serving: {"SERVING", bodyOf[ServingBody]},
	Give:    {"GIVE", bodyOf[GiveBody]},
	Own:     {"OWN", bodyOf[OwnBody]},
	Drop:    {"DROP", bodyOf[DropBody]},
	Drain:   {"DRAIN", bodyOf[DrainBody]},
	Bye:     {"BYE", bodyOf[ByeBody]},
	Working: {"WORKING", bodyOf[WorkingBody]},
	Refuse:  {"REFUSE", bodyOf[RefuseBody]},
	Ask:     {"ASK", bodyOf[AskBody]},
	Cut:     {"CUT", bodyOf[CutBody]},
	Pass:    {"PASS", bodyOf[PassBody]},
}

// String returns the name of the type.
func (t Type) String() string {
	if i := int(t &^ must); i > 0 && i < len(types) {
		return types[i].name
	}
	return fmt.Sprintf("type %d", uint16(t))
}

func (t Type) known() bool { i := int(t &^ must); return i > 0 && i < len(types) }

// Frame is one message. Body is one of the types of bodies.go, by value; nil: none.
//
//	0        4         6      8        12
//	┌────────┬─────────┬──────┬────────┬───────────┐
//	│ "EDGU" │ version │ type │ number │ body, JSON │   big-endian
//	└────────┴─────────┴──────┴────────┴───────────┘
type Frame struct {
	Version uint16
	Type    Type
	Number  uint32 // of SOCKETS, GIVE and OWN
	Body    any
}

const (
	magic    = "EDGU"
	headSize = 12
)

var (
	errShort   = errors.New("a message that is too short for a frame")
	errLong    = errors.New("a message that is too long for a frame")
	errMagic   = errors.New("a message of another protocol")
	errVersion = errors.New("a frame without a version")
)

// Append appends the bytes of f to dst.
func Append(dst []byte, f *Frame) ([]byte, error) {
	begin := len(dst)
	dst = append(dst, magic...)
	dst = binary.BigEndian.AppendUint16(dst, f.Version)
	dst = binary.BigEndian.AppendUint16(dst, uint16(f.Type))
	dst = binary.BigEndian.AppendUint32(dst, f.Number)
	if f.Body != nil {
		body, err := json.Marshal(f.Body)
		if err != nil {
			return dst[:begin], fmt.Errorf("%v: %w", f.Type, err)
		}
		dst = append(dst, body...)
	}
	if len(dst)-begin > MessageMax {
		return dst[:begin], fmt.Errorf("%v: %w", f.Type, errLong)
	}
	return dst, nil
}

// Parse returns the frame of a message. A type that is not known and not marked has a nil Body: it is to be ignored.
func Parse(message []byte) (*Frame, error) {
	switch {
	case len(message) < headSize:
		return nil, errShort
	case len(message) > MessageMax:
		return nil, errLong
	case string(message[:4]) != magic:
		return nil, errMagic
	}
	f := &Frame{
		Version: binary.BigEndian.Uint16(message[4:]), Type: Type(binary.BigEndian.Uint16(message[6:])),
		Number: binary.BigEndian.Uint32(message[8:]),
	}
	if f.Version == 0 {
		return nil, errVersion
	}
	if !f.Type.known() {
		if f.Type&must != 0 {
			return nil, fmt.Errorf("a frame of %v, which this version has to know and does not", f.Type)
		}
		return f, nil
	}
	f.Type &^= must
	var err error
	if f.Body, err = types[f.Type].parse(message[headSize:]); err != nil {
		return nil, fmt.Errorf("%v: %w", f.Type, err)
	}
	return f, nil
}

// bodyOf parses a body, and checks that T has the fields that the sender calls necessary. An empty text is an empty
// body.
func bodyOf[T any](text []byte) (any, error) {
	var body T
	if len(text) == 0 {
		return body, nil
	}
	var needs struct {
		Must []string `json:"must"`
	}
	if err := json.Unmarshal(text, &needs); err != nil {
		return body, err
	}
	if err := json.Unmarshal(text, &body); err != nil || len(needs.Must) == 0 {
		return body, err
	}
	var known map[string]json.RawMessage
	text, err := json.Marshal(body)
	if err == nil {
		err = json.Unmarshal(text, &known)
	}
	for _, name := range needs.Must {
		if _, ok := known[name]; err == nil && !ok {
			err = fmt.Errorf("field %q, which this version has to know and does not", name)
		}
	}
	return body, err
}
