#!/bin/sh
# Starts a whole cluster on this machine, to try it out: three NATS servers, three Parley nodes and nginx in front of
# them, with the files that stand beside this one. Ctrl-C ends it all.
#
#   run.sh PARLEY NATS-SERVER [PORT]
#
# The page is on PORT (8080), the nodes on the three after it. To see a node die: kill the process id printed for it.
set -eu
parley=$1 nats=$2 port=${3:-8080}
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin # where Debian has nginx
command -v curl >/dev/null || { echo "This needs curl: install it (Debian: apt-get install curl)" >&2; exit 1; }
for i in 0 1 2 3 11 12 13 21 22 23; do
	refused=0
	curl -s --noproxy '*' --max-time 10 "http://127.0.0.1:$((port + i))" >/dev/null || refused=$?
	if [ "$refused" != 7 ]; then
		echo "Something listens on port $((port + i)) already: end it, or choose another: make cluster PORT=9000" >&2
		exit 1
	fi
done
dir=$(mktemp -d)
pids=
end() {
	trap - EXIT INT TERM
	for pid in $pids; do kill "$pid" 2>/dev/null || true; done
	wait
	rm -rf "$dir"
}
trap end EXIT
trap 'exit 0' INT TERM

# answers PORT waits until somebody answers there; if one of all these ends before, it shows what they said.
answers() {
	until curl -fs --noproxy '*' "http://127.0.0.1:$1/healthz" >/dev/null; do
		for pid in $pids; do
			kill -0 "$pid" 2>/dev/null || { tail -n 5 "$dir"/*.log >&2; exit 1; }
		done
		sleep 0.2
	done
}

clients=
for i in 1 2 3; do
	sed -e "s/parley-nats1/parley-nats$i/" \
		-e "s/listen: \"nats1.internal:4222\"/listen: \"127.0.0.1:$((port + 10 + i))\"/" \
		-e "s/listen: \"nats1.internal:6222\"/listen: \"127.0.0.1:$((port + 20 + i))\"/" \
		-e "s/nats1.internal:6222/127.0.0.1:$((port + 21))/" \
		-e "s/nats2.internal:6222/127.0.0.1:$((port + 22))/" \
		-e "s/nats3.internal:6222/127.0.0.1:$((port + 23))/" \
		-e "s|/var/lib/nats|$dir/nats$i|" "$here/nats.conf" >"$dir/nats$i.conf"
	"$nats" -c "$dir/nats$i.conf" >"$dir/nats$i.log" 2>&1 &
	pids="$pids $!"
	clients="$clients${clients:+,}127.0.0.1:$((port + 10 + i))"
done
for i in 1 2 3; do
	"$parley" --addr "127.0.0.1:$((port + i))" --nats "nats://$clients" >"$dir/node$i.log" 2>&1 &
	pids="$pids $!"
	echo "node $i is process $!, on port $((port + i))"
done

sed -e "s/node1.internal:8080/127.0.0.1:$((port + 1))/" -e "s/node2.internal:8080/127.0.0.1:$((port + 2))/" \
	-e "s/node3.internal:8080/127.0.0.1:$((port + 3))/" "$here/upstream.conf" >"$dir/upstream.conf"
cat >"$dir/nginx.conf" <<CONF
daemon off;
pid $dir/nginx.pid;
error_log $dir/nginx.log;
events { }
http {
    access_log off;
    client_body_temp_path $dir/body;
    proxy_temp_path $dir/proxy;
    fastcgi_temp_path $dir/fastcgi;
    uwsgi_temp_path $dir/uwsgi;
    scgi_temp_path $dir/scgi;
    map \$http_upgrade \$connection_upgrade { default upgrade; '' ''; }
    include $dir/upstream.conf;
    server {
        listen 127.0.0.1:$port;
        location / {
            proxy_pass http://parley;
            proxy_http_version 1.1;
            proxy_set_header Upgrade \$http_upgrade;
            proxy_set_header Connection \$connection_upgrade;
            proxy_set_header Host \$http_host;
            proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
            proxy_read_timeout 60s;
            proxy_buffering off;
        }
    }
}
CONF
for i in 1 2 3; do answers $((port + i)); done
nginx -c "$dir/nginx.conf" -p "$dir" -e "$dir/nginx.log" &
pids="$pids $!"
answers "$port"
echo "The cluster is up: open http://localhost:$port in two windows (Ctrl-C ends it)"
if [ -n "${DISPLAY-}${WAYLAND_DISPLAY-}" ] && command -v xdg-open >/dev/null; then xdg-open "http://localhost:$port" >/dev/null 2>&1 || true; fi
wait
