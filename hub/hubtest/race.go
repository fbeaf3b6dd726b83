//go:build race

package hubtest

// RaceDetector tells whether the test was built with -race: limits on time and memory are wider then.
const RaceDetector = true
