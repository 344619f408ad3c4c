package hpack

import (
	"errors"

	"github.com/edge-proxy/edge/internal/base/huffman"
)

// Errors of a block. All but ErrListSize leave the decoder of no use: the connection ends with COMPRESSION_ERROR.
var (
	errTruncated  = huffman.ErrTruncated
	errIndex      = errors.New("hpack: an index that no table entry has")
	errTableSize  = errors.New("hpack: a table size above the limit")
	errLateUpdate = errors.New("hpack: a table size update behind a field")
	errNoUpdate   = errors.New("hpack: the table was to shrink, and the block does not begin with that")

	// ErrListSize says that the fields of a block take more than DecoderOptions.ListMax bytes. The state of the table
	// is right: read on to the end of the block, each field gives this error, and refuse only the message.
	ErrListSize = errors.New("hpack: the fields of a block are too large together")
)
