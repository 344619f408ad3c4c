// Package section gives the field sections of HTTP/2 and HTTP/3 their meaning: which fields and pseudo-fields a message
// may have, which host and target a request is for, how long its body is (RFC 9113 §8, RFC 9114 §4). Both versions have
// the same rules, and two places of them would be a way to smuggle requests.
//
// It knows no frames and no compression. A codec decodes Fields, adds them to a Section, and asks it for the meaning of
// a request or an answer. The head is then the same as from HTTP/1: fields lie in it as lines, so that an encoder of
// HTTP/1 copies them in runs. A broken rule is a Fault, a number that each codec turns into an error of its own. For
// the way out the package says which fields and which content-length are written, and how large a section is to a peer.
//
// # Ownership
//
// A Section lies on the stack of its caller for one block. The Fields that it takes are borrowed until Add returns;
// their bytes are copied into the head. Functions hold no state.
//
// # Limits
//
// The caller gives Limits: bytes of the head, of one field and of the request line, and the number of fields. A section
// beyond them has a Fault; how many fields a block may have before its connection ends is the codec's decision.
package section
