package main

import (
	"errors"
	"net/url"
	"strings"
)

// checkNATS refuses a list that the client would try to connect to for ever. Its error does not repeat the list, in
// which there may be a password.
func checkNATS(list string) error {
	if list == "" {
		return nil
	}
	for address := range strings.SplitSeq(list, ",") {
		if address = strings.TrimSpace(address); !strings.Contains(address, "://") {
			address = "nats://" + address
		}
		if u, err := url.Parse(address); err != nil || u.Host == "" {
			return errors.New("--nats is not one or several addresses, as in nats://a:4222,b:4222")
		}
	}
	return nil
}
