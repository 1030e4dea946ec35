"""A session's server and schedules: it boots a worker when one is due, and only then."""

from tests.helpers import wait_until
from tests.mcp.places import Place
from tests.mcp.servers import Server


def test_a_server_without_a_worker_boots_one_for_a_due_schedule_again_and_again(place: Place) -> None:
    with Server(place, RUNQ_IDLE="0.1") as server:
        server.shake_hands()
        place.cli("schedule", "add", "later", "--every", "1h", "--", "true")
        place.cli("schedule", "add", "soon", "--every", "2", "--", "true")

        def done() -> list[int]:
            return [job["id"] for job in server.call("list_jobs", state="succeeded")["jobs"]]

        wait_until(lambda: len(done()) >= 2, "it has run twice")
        assert {place.job(job_id).schedule for job_id in done()} == {"soon"}
        place.cli("schedule", "remove", "soon")
        wait_until(lambda: not place.queue.live_workers(), "the worker has left")
        assert server.call("status")["worker"]["state"] == "off"
