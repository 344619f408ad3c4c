//go:build race

package bytelog

// raceDetector makes readers of a Bytes take the lock: they read bytes that may be written, and look afterwards whether
// they were. That is right, but it is a race to the detector.
const raceDetector = true
