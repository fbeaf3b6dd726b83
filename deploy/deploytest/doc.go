// Package deploytest runs what stands in front of the server in tests: a real nginx, with certificates made on the
// spot. Everything that is started ends with the test that started it.
package deploytest
