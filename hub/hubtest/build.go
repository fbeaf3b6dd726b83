package hubtest

import (
	"os"

	"parley/store/proctest"
)

// RaceEnv overrides whether the server is built with the race detector: "1" or "0". Without it the server is built
// as the test is.
const RaceEnv = "PARLEY_TEST_RACE"

// Build returns the path of the server's binary, built once a test process. It fails the test when the server does
// not compile.
var Build = proctest.Builder("parley-under-test", append(raceFlag(), ".")...)

func raceFlag() []string {
	race := RaceDetector
	if set := os.Getenv(RaceEnv); set != "" {
		race = set == "1"
	}
	if race {
		return []string{"-race"}
	}
	return nil
}
