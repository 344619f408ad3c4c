package engine

// StreamIdle reports whether s holds no memory but itself.
func StreamIdle(s *Stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.in.data == nil && s.out.data == nil
}
