# $1 is "new" for a first installation, else "update". A proxy that serves is not restarted: its connections would break.
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	if [ "$1" = new ]; then
		systemctl enable --now edge.service || echo "edge: it did not start: journalctl -u edge says why"
	elif systemctl --quiet is-active edge.service; then
		echo "edge: the program of before still serves; edge upgrade starts the new one and loses no request"
	fi
fi
