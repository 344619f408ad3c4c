package http2

import "encoding/binary"

// rules say of each type on which streams it may be, and how long it is (RFC 9113 §6).
var rules = map[FrameType]struct {
	onStream, onConnection bool
	least, most            uint32
}{
	FrameData:         {true, false, 0, frameSizeMost},
	FrameHeaders:      {true, false, 0, frameSizeMost},
	FramePriority:     {true, false, 5, 5},
	FrameRSTStream:    {true, false, 4, 4},
	FrameSettings:     {false, true, 0, frameSizeMost},
	FramePushPromise:  {true, false, 4, frameSizeMost},
	FramePing:         {false, true, 8, 8},
	FrameGoAway:       {false, true, 8, frameSizeMost},
	FrameWindowUpdate: {true, true, 4, 4},
	FrameContinuation: {true, false, 0, frameSizeMost},
}

// parse returns the frame with head h and payload p.
func (f *Framer) parse(h FrameHeader, p []byte) (Frame, error) {
	rule, known := rules[h.Type]
	if !known {
		return &UnknownFrame{h}, nil
	}
	if h.StreamID == 0 && !rule.onConnection || h.StreamID != 0 && !rule.onStream {
		return nil, f.wrong(ErrCodeProtocol, "%v on stream %d", h.Type, h.StreamID)
	}
	if h.Length < rule.least || h.Length > rule.most {
		return nil, f.wrong(ErrCodeFrameSize, "%v of %d bytes", h.Type, h.Length)
	}
	switch h.Type {
	case FrameData:
		data, ok := unpadded(h, p)
		if !ok {
			return nil, f.wrong(ErrCodeProtocol, "padding of DATA")
		}
		return &DataFrame{h, data}, nil
	case FrameHeaders:
		return f.parseHeaders(h, p)
	case FramePriority:
		return &PriorityFrame{h, priorityOf(p)}, nil
	case FrameRSTStream:
		return &RSTStreamFrame{h, ErrCode(binary.BigEndian.Uint32(p))}, nil
	case FrameSettings:
		return f.parseSettings(h, p)
	case FramePushPromise:
		if promise, ok := unpadded(h, p); !ok || len(promise) < 4 {
			return nil, f.wrong(ErrCodeProtocol, "padding of PUSH_PROMISE")
		}
		return &PushPromiseFrame{h}, nil
	case FramePing:
		return &PingFrame{h, [8]byte(p)}, nil
	case FrameGoAway:
		last := binary.BigEndian.Uint32(p) &^ (1 << 31)
		return &GoAwayFrame{h, last, ErrCode(binary.BigEndian.Uint32(p[4:])), p[8:]}, nil
	case FrameWindowUpdate:
		increment := binary.BigEndian.Uint32(p) &^ (1 << 31)
		if increment == 0 {
			return nil, f.wrong(ErrCodeProtocol, "WINDOW_UPDATE by 0 on stream %d", h.StreamID)
		}
		return &WindowUpdateFrame{h, increment}, nil
	}
	return &ContinuationFrame{h, p}, nil
}

// unpadded returns p without its padding.
func unpadded(h FrameHeader, p []byte) ([]byte, bool) {
	if !h.Flags.Has(FlagDataPadded) {
		return p, true
	}
	if len(p) == 0 || int(p[0]) >= len(p) {
		return nil, false
	}
	return p[1 : len(p)-int(p[0])], true
}

func priorityOf(p []byte) PriorityParam {
	dep := binary.BigEndian.Uint32(p)
	return PriorityParam{dep &^ (1 << 31), dep>>31 == 1, p[4]}
}

func (f *Framer) parseHeaders(h FrameHeader, p []byte) (Frame, error) {
	block, ok := unpadded(h, p)
	frame := &HeadersFrame{FrameHeader: h, block: block}
	if ok && h.Flags.Has(FlagHeadersPriority) {
		if ok = len(block) >= 5; ok {
			frame.Priority, frame.block = priorityOf(block), block[5:]
		}
	}
	if !ok {
		return nil, f.wrong(ErrCodeProtocol, "padding or priority of HEADERS")
	}
	return frame, nil
}

func (f *Framer) parseSettings(h FrameHeader, p []byte) (Frame, error) {
	frame := &SettingsFrame{FrameHeader: h}
	if len(p)%6 != 0 || frame.IsAck() && len(p) > 0 {
		return nil, f.wrong(ErrCodeFrameSize, "SETTINGS of %d bytes", len(p))
	}
	for ; len(p) > 0; p = p[6:] {
		s := Setting{SettingID(binary.BigEndian.Uint16(p)), binary.BigEndian.Uint32(p[2:])}
		frame.settings = append(frame.settings, s)
		if s.ID == SettingInitialWindowSize && s.Val >= 1<<31 {
			return nil, f.wrong(ErrCodeFlowControl, "a window of %d", s.Val)
		}
		if s.ID == SettingMaxFrameSize && (s.Val < frameSizeLeast || s.Val > frameSizeMost) ||
			s.ID == SettingEnablePush && s.Val > 1 {
			return nil, f.wrong(ErrCodeProtocol, "setting %d is %d", s.ID, s.Val)
		}
	}
	return frame, nil
}
