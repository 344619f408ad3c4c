package qpack

import (
	"errors"

	"github.com/edge-proxy/edge/internal/base/huffman"
)

// Errors of a section. All but ErrListSize end the connection with QPACK_DECOMPRESSION_FAILED.
var (
	errTruncated = huffman.ErrTruncated
	errIndex     = errors.New("qpack: an index that the static table has not")
	errDynamic   = errors.New("qpack: a reference to the dynamic table, which has no room")

	// ErrListSize says that the fields of a section take more than DecoderOptions.ListMax bytes. Read on to the end of
	// the section, each field gives this error, and refuse only the message.
	ErrListSize = errors.New("qpack: the fields of a section are too large together")
)
