package observe

import "fmt"

// Format is the form of a line of the access log.
type Format uint8

// The formats of the access log.
const (
	FormatJSON Format = iota
	FormatCommon
	FormatCombined
	FormatLogfmt
	FormatTimed // FormatCommon with the backend and the duration, for a person who watches; no configuration names it
)

// ParseFormat understands "json", "common", "combined" and "logfmt".
func ParseFormat(name string) (Format, error) {
	switch name {
	case "json":
		return FormatJSON, nil
	case "common":
		return FormatCommon, nil
	case "combined":
		return FormatCombined, nil
	case "logfmt":
		return FormatLogfmt, nil
	}
	return 0, fmt.Errorf("log format %q is none of json, common, combined, logfmt", name)
}
