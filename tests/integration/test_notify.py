"""im2000-notify as its peers see it: stores that prove their domain or do not (RNASP), mail
programs that list, wait and acknowledge (RNAQP), and what stays when it is stopped or killed."""

import os
import resource
import ssl
import threading

import certs
import harness
import wire
from agents import Agent, fresh

# builds: asan tsan

DAY = 86400


class Proof(Agent):
    """A sender's domain is proved by the certificate that the store shows as TLS client."""

    def cases(self):
        issue = self.site.authority.issue
        other = certs.Authority(os.path.join(self.site.folder, "other"), "Other CA")
        alice, deep = "alice@a.example", "alice@mail.a.example"
        return (
            # what is shown, certificate, sender, domain of storeTls, result when asked of bob
            ("the domain", issue("a.example"), alice, "a.example", "accepted"),
            ("serverAuth alone", issue("a.example", usage="serverAuth"), alice, "a.example",
             "accepted"),
            ("both usages", issue("a.example", usage="serverAuth,clientAuth"), alice,
             "a.example", "accepted"),
            ("the second of its names", issue("c.example", "a.example", usage="serverAuth"),
             alice, "a.example", "accepted"),
            ("upper case", issue("A.Example"), "alice@a.EXAMPLE", "A.example", "accepted"),
            ("sender and store, both covered", issue("a.example", "store.example"), alice,
             "store.example", "accepted"),
            ("a wildcard", issue("*.a.example"), deep, "mail.a.example", "accepted"),
            ("clientAuth alone", issue("a.example", usage="clientAuth"), alice, "a.example",
             "unverified"),
            ("another domain", issue("c.example"), alice, "a.example", "unverified"),
            ("a domain above", issue("a.example"), deep, "mail.a.example", "unverified"),
            ("a domain below", issue("mail.a.example"), alice, "a.example", "unverified"),
            ("a wildcard too high", issue("*.example"), deep, "mail.a.example", "unverified"),
            ("expired", issue("a.example", end=-1), alice, "a.example", "unverified"),
            ("not yet valid", issue("a.example", start=1), alice, "a.example", "unverified"),
            ("another CA", other.issue("a.example"), alice, "a.example", "unverified"),
            ("no names", issue(), alice, "a.example", "unverified"),
            ("nothing", None, alice, "a.example", "unverified"),
            ("its own domain, another's sender", issue("a.example"), "carol@c.example",
             "a.example", "unverified"),
            ("its own domain, another's store", issue("a.example"), alice, "c.example",
             "unverified"),
            ("no domain", issue("a.example"), "alice", "a.example", "unverified"),
            ("an address literal", issue("a.example"), "alice@[127.0.0.1]", "a.example",
             "unverified"),
        )

    def test_certificates(self):
        wanted = []
        for what, cert, sender, store, result in self.cases():
            with self.subTest(what):
                identity = fresh()
                client = self.store(cert=cert)
                note = self.note(identity, "bob@b.example", sender, store)
                self.assertEqual(self.notify(client, note), [result])
                # Who does not exist is told to those alone who prove themselves.
                nobody = self.note(fresh(), "nobody@b.example", sender, store)
                self.assertEqual(self.notify(client, nobody),
                                 ["noUser" if result == "accepted" else result])
                if result == "accepted":
                    wanted.append((identity, sender.rpartition("@")[2].lower()))
        listed = [(n["notification"]["id"], ".".join(n["verified"]))
                  for n in self.list(self.reader())]
        self.assertEqual(listed, wanted)

    def test_many(self):
        """notifyMany is judged as one, each addressee by itself."""
        addressees = [{"recipient": wire.mailbox(m), "id": fresh()} for m in (
            "bob@b.example", "nobody@b.example", "eve@b.example", "bob@elsewhere.example")]
        common = self.note(addressees[0]["id"])
        for client, results in (
                (self.store("c.example"), ["unverified"] * 4),
                (self.store(), ["unverified"] * 4),
                (self.store("a.example"), ["accepted", "noUser", "accepted", "noUser"])):
            done = client.call("notifyMany", common=common, addressees=addressees).expect("ok")
            self.assertEqual(done.data["results"], results)
        for name, at in (("bob", 0), ("eve", 2)):
            found, = self.list(self.reader(name))
            self.assertEqual(found["notification"]["id"], addressees[at]["id"])
            self.assertEqual(wire.mailbox_text(found["notification"]["recipient"]),
                             f"{name}@b.example")

    def test_no_store(self):
        """Who says nowhere to read it, or only an address, is kept by nobody."""
        client = self.store("a.example")
        nowhere = self.note(fresh())
        del nowhere["storeTls"]
        literal = self.note(fresh())
        literal["storeTls"] = ("literals", [{"address": ("v4", bytes(4)), "port": 1}])
        self.assertEqual(self.notify(client, nowhere, literal), ["unverified"] * 2)
        self.assertEqual(self.list(self.reader()), [])


class Unproved(Agent):
    settings = {"unverified": "keep"}

    def test_kept_without_a_name(self):
        for client in (self.store(), self.store("c.example"), self.store("a.example")):
            self.send(client, fresh())
        found = self.list(self.reader())
        self.assertEqual([n.get("verified") for n in found], [None, None, ["a", "example"]])
        client = self.store()
        self.assertEqual(self.notify(client, self.note(fresh(), "nobody@b.example"),
                                     self.note(fresh(), sender="alice")),
                         ["noUser", "refused"])


class Intake(Agent):
    def test_what_is_kept(self):
        identity = fresh()
        fields = {"size": 40 << 20, "digest": bytes(range(32)), "expires": 4102444800000000,
                  "submitted": 1700000000000000, "header": b"From: alice\r\nSubject: \xff\r\n\r\n",
                  "structure": '("TEXT" "PLAIN" NIL NIL NIL "7BIT" 3 1)', "list": "l@a.example"}
        sent = self.note(identity, **fields)
        client = self.store("a.example")
        self.assertEqual(self.notify(client, sent), ["accepted"])
        found, = self.list(self.reader())
        self.assertEqual(found["notification"], sent)
        self.assertEqual(found["submitter"]["address"], ("v4", bytes([127, 0, 0, 1])))
        self.assertEqual(found["submitter"]["port"], client.sock.getsockname()[1])
        self.assertEqual(found["verified"], ["a", "example"])
        self.assertNotIn("withdrawn", found)

    def test_repeats(self):
        """The same from the same store is one; its time is the latest, its place stays."""
        identity, client, again = fresh(), self.store("a.example"), self.store("a.example")
        self.send(client, identity)
        first, = self.list(self.reader())
        self.send(again, identity)
        self.send(client, identity, identity)
        found, = self.list(self.reader())
        self.assertEqual(found["cursor"], first["cursor"])
        self.assertGreater(found["received"], first["received"])
        self.assertEqual(found["submitter"], first["submitter"])
        # The same id from another store is another notification.
        self.send(self.store("c.example"), identity, sender="carol@c.example")
        self.assertEqual(len(self.list(self.reader())), 2)

    def test_withdraw(self):
        identity, other = fresh(), fresh()
        client, wrong, none = self.store("a.example"), self.store("c.example"), self.store()
        self.send(client, identity, other)
        before = self.list(self.reader())
        self.withdraw(wrong, identity)
        self.withdraw(none, identity)
        self.withdraw(client, fresh())
        self.withdraw(client, identity, "eve@b.example")
        self.withdraw(client, identity, "nobody@b.example")
        self.assertEqual(self.list(self.reader()), before)
        reader = self.reader()
        reader.send("retrieve", after=before[-1]["cursor"], wait=600)
        self.withdraw(client, identity)
        # It comes again, marked, to those who have seen it; once.
        marked, = reader.recv().expect("ok").data["notifications"]
        self.assertEqual(marked["notification"]["id"], identity)
        self.assertIs(marked["withdrawn"], True)
        self.assertEqual(marked["received"], before[0]["received"])
        self.withdraw(client, identity)
        self.assertEqual(self.list(self.reader()), [before[1], marked])

    def test_sizes(self):
        client = self.store("a.example")
        for fields, result in (
                ({"header": bytes(1280)}, "accepted"), ({"header": bytes(1281)}, "refused"),
                ({"structure": "x" * 512}, "accepted"), ({"structure": "x" * 513}, "refused"),
                ({"header": bytes(1280), "structure": "x" * 512, "list": "l" * 300}, "refused"),
                ({"expires": 1}, "refused")):
            self.assertEqual(self.notify(client, self.note(fresh(), **fields)), [result], fields)
        client.call("notify", notifications=[self.note(fresh())] * 257).expect("tooBig", True)
        self.send(client, *(fresh() for _ in range(256)))

    def test_expires(self):
        self.agent.stop()
        clock = self.site.fake_clock()
        self.agent.start()
        client, ends = self.store("a.example"), [clock.now() + n * DAY for n in (1, 100)]
        self.send(client, fresh(), expires=int(ends[0] * 1000000))
        self.send(client, fresh(), expires=int(ends[1] * 1000000))
        reader = self.reader()
        for days, left in ((0, 2), (2, 1), (89, 0)):
            clock.move(days * DAY)
            self.assertEqual(len(self.list(reader)), left)
        # The sweep, which runs at the start too, takes them away.
        self.reconnect()
        self.agent.restart()
        harness.wait_for("both are swept", lambda: "notices=2" in self.agent.log())
        self.assertIn("notifications        0", self.agent.admin("stats").stdout)
        self.agent.admin("check")


class Limits(Agent):
    settings = {"mailbox-notifications": 5, "origin-notifications": 3}

    def test_full(self):
        a, c = self.store("a.example"), self.store("c.example")
        first = fresh()
        self.send(a, first, fresh(), fresh())
        self.assertEqual(self.notify(a, self.note(fresh())), ["full"])
        self.assertEqual(self.notify(a, self.note(first)), ["accepted"])    # a repeat
        self.assertEqual(self.notify(a, self.note(fresh(), "eve@b.example")), ["accepted"])
        self.send(c, fresh(), fresh(), sender="carol@c.example")
        self.assertEqual(self.notify(c, self.note(fresh(), sender="carol@c.example")), ["full"])
        reader = self.reader()
        reader.call("acknowledge", cursors=[self.list(reader)[0]["cursor"]]).expect("ok")
        self.send(c, fresh(), sender="carol@c.example")
        self.assertEqual(len(self.list(reader)), 5)


class Reading(Agent):
    def test_login(self):
        for account, password, status in (
                ("bob@b.example", "secret", "ok"), ("bob@B.Example", "secret", "ok"),
                ("bob@b.example", "Secret", "notAuthenticated"),
                ("nobody@b.example", "secret", "notAuthenticated"),
                ("bob", "secret", "notAuthenticated")):
            with self.agent.client("rnaqp") as client:
                client.call("authenticate", account=account, password=password).expect(status)
                client.call("retrieve", after=0).expect(status)
        self.assertNotIn("secret", self.agent.log())
        self.assertIn("result=wrong account=nobody@b.example peer=127.0.0.1:", self.agent.log())

    def test_failures(self):
        """After five in a minute nobody may guess on; who was right before is not held up."""
        self.reader("bob")
        for _ in range(5):
            with self.agent.client("rnaqp") as client:
                client.call("authenticate", account="eve@b.example", password="?").expect(
                    "notAuthenticated")
        for account in ("eve@b.example", "eve@B.EXAMPLE", "nobody@b.example"):
            with self.agent.client("rnaqp") as client:
                late = client.call("authenticate", account=account, password="secret")
                late.expect("tryLater")
                self.assertGreater(late.retry_after, 0)
        self.reader("bob")

    def test_wait(self):
        """Each waiting mail program is told of what comes, and of nothing else."""
        client = self.store("a.example")
        readers = [self.reader() for _ in range(5)]
        cursors = [0] * 5
        eve = self.reader("eve")
        eve.send("retrieve", after=0, wait=600)
        sent, seen = [], [[] for _ in readers]
        for reader in readers:
            reader.send("retrieve", after=0, wait=600)
        for turn in range(10):
            sent.append(fresh())
            self.send(client, sent[-1])
            for i, reader in enumerate(readers):
                if turn < 9 and (turn + i) % 3 == 0:
                    continue    # this one lets it pile up
                while len(seen[i]) < len(sent):
                    data = reader.recv().expect("ok").data
                    seen[i] += [n["notification"]["id"] for n in data["notifications"]]
                    cursors[i] = data["next"]
                    reader.send("retrieve", after=cursors[i], wait=600)
        self.assertEqual(seen, [sent] * 5)
        # The next command ends a wait at once.
        for reader in readers + [eve]:
            reader.send("acknowledge", cursors=[])
            self.assertEqual(reader.recv().expect("ok").data["notifications"], [])
            reader.recv().expect("ok")

    def test_wait_ends(self):
        reader = self.reader()
        self.assertEqual(self.list(reader, wait=1), [])
        self.agent.set(wait_time="1s")
        self.agent.reload()
        harness.wait_for("it has read its configuration", lambda: "reload" in self.agent.log())
        self.assertEqual(self.list(self.reader(), wait=100000), [])

    def test_several(self):
        """Mail programs of one mailbox go their own ways, and share what is acknowledged."""
        client = self.store("a.example")
        identities = [fresh() for _ in range(7)]
        self.send(client, *identities)
        phone, desk = self.reader(), self.reader()
        first = phone.call("retrieve", after=0, limit=3).expect("ok").data
        self.assertEqual([n["notification"]["id"] for n in first["notifications"]],
                         identities[:3])
        self.assertEqual(self.ids(phone, first["next"]), identities[3:])
        self.assertEqual(self.ids(desk), identities)
        phone.call("acknowledge", cursors=[n["cursor"] for n in first["notifications"]]).expect()
        self.assertEqual(self.ids(desk), identities[3:])
        done = desk.call("retrieveAndClear").expect("ok").data
        self.assertEqual([n["notification"]["id"] for n in done["notifications"]], identities[3:])
        self.assertEqual(self.ids(phone), [])
        self.assertEqual(self.ids(self.reader("eve")), [])

    def test_foreign_cursors(self):
        client = self.store("a.example")
        self.send(client, fresh())
        cursor = self.list(self.reader())[0]["cursor"]
        self.reader("eve").call("acknowledge", cursors=[cursor, cursor + 1, 0]).expect("ok")
        self.assertEqual(len(self.list(self.reader())), 1)


class Floods(Agent):
    settings = {"origin-rate": 30, "address-rate": 60, "unverified": "keep"}

    def test_origin(self):
        """A domain that sends too much is told when to come again; others go on."""
        client, other = self.store("a.example"), self.store("c.example")
        notes = [self.note(fresh()) for _ in range(31)]
        self.assertEqual(self.notify(client, *notes), ["accepted"] * 31)
        for one in (client, self.store("a.example")):
            done = one.call("notify", notifications=[self.note(fresh())])
            self.assertEqual(done.status, "tryLater")
            self.assertTrue(0 < done.retry_after <= 60)
        self.assertEqual(self.notify(other, self.note(fresh(), sender="carol@c.example")),
                         ["accepted"])
        # A name that is only claimed is not on the domain's account.
        self.send(other, fresh())
        self.assertEqual(len(self.list(self.reader())), 33)

    def test_address(self):
        """Whoever they say they are: all that comes from one address counts."""
        client = self.store()
        for at in range(61):
            self.send(client, fresh(), sender=f"alice@a{at}.example")
        for one in (client, self.store("c.example")):
            done = one.call("notify", notifications=[self.note(fresh())])
            self.assertEqual(done.status, "tryLater")
        # Readers come from there too, and go on.
        self.assertEqual(len(self.list(self.reader())), 61)
        self.agent.stop()
        self.assertIn("answered-tryLater    2", self.agent.admin("stats").stdout)


class Lasting(Agent):
    settings = {"origin-notifications": 10000}

    def test_restart(self):
        """What was answered is there after SIGTERM, and a cursor still says the same."""
        client, reader = self.store("a.example"), self.reader()
        identities = [fresh() for _ in range(20)]
        self.send(client, *identities)
        before = self.list(reader)
        reader.call("acknowledge", cursors=[before[0]["cursor"]]).expect("ok")
        self.withdraw(client, identities[1])
        before = self.list(reader)
        waiting = self.reader()
        waiting.send("retrieve", after=before[-1]["cursor"], wait=600)
        waiting.send("retrieve", after=0)   # after which it may be told that we stop
        self.agent.stop()
        self.reconnect()
        self.agent.start()
        self.assertEqual(self.list(self.reader()), before)
        more = fresh()
        self.send(self.store("a.example"), more, *identities[2:])
        self.assertEqual(self.ids(self.reader(), before[-1]["cursor"]), [more])

    def test_shutdown(self):
        """A waiting mail program is answered; it and an idle one are told why it ends."""
        waiting, idle = self.reader(), self.reader()
        waiting.send("retrieve", after=0, wait=600)
        harness.wait_for("it has done all there is to do", self.at_rest)
        stopper = threading.Thread(target=self.agent.stop)
        stopper.start()
        self.assertEqual(waiting.recv().expect("ok").data["notifications"], [])
        for reader in (waiting, idle):
            reader.recv().expect("serviceShutdown", abort=True)
            self.assertTrue(reader.closed())
        stopper.join()

    def at_rest(self):
        """Whether all threads of the agent sleep."""
        tasks = f"/proc/{self.agent.process.pid}/task"
        states = []
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/stat", encoding="utf-8") as file:
                states.append(file.read().rpartition(")")[2].split()[0])
        return set(states) == {"S"}

    def test_full_disk(self):
        """What does not fit is said so, what was answered stays, and room is used again."""
        pid = self.agent.process.pid
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        client, answered, status = self.store("a.example"), [], "ok"
        file = os.path.join(self.agent.folder, "data", "notify.mdb")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (os.path.getsize(file) + 500000, hard))
        for _ in range(1000):
            batch = [fresh() for _ in range(20)]
            done = client.call("notify", notifications=[
                self.note(i, header=bytes(1200)) for i in batch])
            status = done.status
            if status != "ok":
                break
            answered += batch
        done.expect("notEnoughRoom", abort=True)
        self.assertGreater(done.retry_after, 0)
        self.assertGreater(len(answered), 20)
        self.assertEqual(self.everything(), answered)
        self.agent.admin("check")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        self.send(client, *batch)
        self.assertEqual(self.everything(), answered + batch)
        self.reconnect()
        self.agent.restart()
        self.assertEqual(self.everything(), answered + batch)

    def test_killed(self):
        """kill -9 at any time: each one that was answered is listed once, and no other."""
        cert = self.site.authority.issue("a.example", usage="serverAuth")
        answered, tried = [], []
        for round_ in range(10):
            unanswered = self.kill_while_sending(cert, answered, tried, 5 + 7 * round_)
            self.reconnect()
            self.agent.start()
            self.agent.admin("check")
            found = self.everything()
            self.assertEqual(len(found), len(set(found)))
            self.assertLessEqual(set(answered), set(found))
            self.assertLessEqual(set(found), set(tried))
            # The store says again what was not answered.
            client = self.store(cert=cert)
            if unanswered:
                self.send(client, *unanswered)
                answered += unanswered
        self.assertEqual(sorted(self.everything()), sorted(answered))

    def kill_while_sending(self, cert, answered, tried, after):
        """Sends, kills the agent when AFTER commands were answered, returns what was not."""
        client, killed = self.store(cert=cert), threading.Event()
        count, unanswered = 0, []
        while not killed.is_set():
            batch = [fresh() for _ in range(3)]
            tried += batch
            try:
                client.send("notify", notifications=[self.note(i) for i in batch])
                if count == after:
                    self.agent.kill()
                    killed.set()
                    try:
                        done = client.recv().expect("ok")
                    except (wire.Closed, OSError):
                        done = None
                else:
                    done = client.recv().expect("ok")
                    count += 1
            except (wire.Closed, OSError):
                done = None
            if done:
                self.assertEqual(done.data["results"], ["accepted"] * 3)
                answered += batch
            else:
                unanswered += batch
        return unanswered

    def everything(self):
        reader, found, after = self.reader(), [], 0
        while True:
            data = reader.call("retrieve", after=after, limit=1000).expect("ok").data
            if not data["notifications"]:
                return found
            found += [n["notification"]["id"] for n in data["notifications"]]
            after = data["next"]


class Hostile(Agent):
    """What is no command, or no TLS as it must be, ends its own connection and nothing else."""

    def prepare(self):
        self.settings = {"listen-" + kind: f"127.0.0.1:{harness.free_port()}"
                         for kind in ("rnasp", "rnaqp")}

    def setUp(self):
        super().setUp()
        self.witness = self.reader()
        self.witness.send("retrieve", after=0, wait=600)

    def tearDown(self):
        # The mail program that waited all the time is served.
        identity = fresh()
        self.send(self.store("a.example"), identity)
        found, = self.witness.recv().expect("ok").data["notifications"]
        self.assertEqual(found["notification"]["id"], identity)
        super().tearDown()

    def test_octets(self):
        for kind in ("rnasp", "rnaqp"):
            for octets, status in (
                    (bytes(4), "malformedPdu"),
                    (b"GET / HTTP/1.1\r\n\r\n", "tooBig"),
                    (wire.frame(b"\xa1\x03\xa0\x01\x00"), "malformedPdu"),
                    (wire.frame(b"\xa1\x80\x00\x00"), "malformedPdu"),
                    (wire.frame(wire.response(kind)), "malformedPdu"),
                    (b"\x00\x01\x00\x01\xa1\x83\x00\xff\xfc", "tooBig"),
                    (b"\xff\xff\xff\xff\xa1", "tooBig")):
                with self.agent.client(kind) as client:
                    client.send_raw(octets)
                    client.recv().expect(status, abort=True)
                    self.assertTrue(client.closed())
            with self.agent.client(kind) as client:
                client.send_raw(wire.frame(bytes.fromhex("a104a002be00")))
                client.recv().expect("unsupported", abort=False)
                client.send_raw(b"\x00\x00\x00")       # then it goes, inside a frame

    def test_cut(self):
        """Commands cut off after each octet."""
        whole = wire.frame(wire.command("rnaqp", "authenticate", account="bob@b.example",
                                        password="secret"))
        for n in range(0, len(whole), 3):
            with self.agent.client("rnaqp") as client:
                client.send_raw(whole[:n])

    def test_tls(self):
        address = self.agent.address["rnaqp"]
        for protocols in ([], ["http/1.1"], ["im2000-rnasp/1"], ["im2000-rnaqp/2"]):
            with self.assertRaises((ssl.SSLError, ConnectionError, wire.Closed), msg=protocols):
                client = self.kept(self.agent.client("rnaqp", protocols=protocols))
                client.call("retrieve", after=0)
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.load_verify_locations(self.site.authority.ca)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.kept(self.agent.client("rnaqp", context=old))
        for octets in (b"", b"\n", b"GET / HTTP/1.0\r\n\r\n", bytes(1000), b"\x16\x03\x01\xff\xff",
                       wire.frame(wire.command("rnaqp", "retrieveAndClear"))):
            with wire.socket.create_connection(address, timeout=wire.PATIENCE) as raw:
                raw.sendall(octets)
                if len(octets) > 5:
                    try:
                        while raw.recv(1000):
                            pass
                    except ConnectionError:
                        pass

    def test_both_at_one_port(self):
        """One port may serve both; ALPN tells them apart."""
        shared = harness.endpoint(self.agent.address["rnasp"])
        self.witness.close()
        self.agent.stop()
        self.agent.set(listen_rnaqp=shared)
        self.agent.start()
        self.assertEqual(self.agent.address["rnasp"], self.agent.address["rnaqp"])
        self.send(self.store("a.example"), fresh())
        self.assertEqual(len(self.list(self.reader())), 1)
        self.witness = self.reader()
        self.witness.send("retrieve", after=self.list(self.reader())[0]["cursor"], wait=600)

    def test_sessions(self):
        """Over the limit for one address a connection ends, and one that ends makes room."""
        self.witness.close()
        self.agent.set(sessions_per_address="4")
        self.agent.restart()
        self.witness = self.reader()
        held = [self.agent.client("rnaqp") for _ in range(3)]
        with self.assertRaises((ssl.SSLError, ConnectionError, wire.Closed)):
            extra = self.kept(self.agent.client("rnaqp"))
            extra.call("retrieve", after=0)
        for client in held:
            client.close()
        harness.wait_for("there is room", self.room)
        self.witness.send("retrieve", after=0, wait=600)

    def room(self):
        try:
            self.kept(self.agent.client("rnaqp")).call("retrieve", after=0)
            return True
        except (ssl.SSLError, ConnectionError, wire.Closed):
            return False


if __name__ == "__main__":
    harness.main()
