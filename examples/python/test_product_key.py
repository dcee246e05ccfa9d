"""python3 -m unittest"""

import json
import unittest
from dataclasses import dataclass

import product_key
from product_key import Refused, Settings

SETTINGS = Settings(
    server="https://licences.example.test",
    products={"windows-2025": {"sku": "W25-DC"}, "oracle-26": {"sku": "ORA", "projects": ["dba"]}},
)


@dataclass
class Instance:
    metadata: list
    id: str = "a3a4c0b6"
    project_id: str = "web"
    hostname: str = "vm"


def wanting(product, **members):
    return Instance([("colour", "blue"), ("licence_product", product)], **members)


class AnInstance(unittest.TestCase):
    def test_that_asks_for_nothing_gets_nothing(self):
        self.assertIsNone(product_key.order(SETTINGS, Instance([])))

    def test_that_asks_for_a_product_orders_it_by_its_sku(self):
        order = product_key.order(SETTINGS, wanting("windows-2025"))

        self.assertEqual(json.loads(order.body()), {"sku": "W25-DC", "client": "a3a4c0b6", "hostname": "vm"})
        self.assertEqual(order.idempotency_key, "a3a4c0b6/windows-2025")

    def test_that_asks_for_an_unknown_product_is_told_which_there_are(self):
        with self.assertRaises(Refused) as raised:
            product_key.order(SETTINGS, wanting("windows-1.0\n"))

        message = "there is no such product; there are oracle-26, windows-2025"
        self.assertEqual(raised.exception.args, ("invalid_request", [("/metadata/licence_product", message)]))

    def test_of_another_project_gets_no_key(self):
        self.assertIsNotNone(product_key.order(SETTINGS, wanting("oracle-26", project_id="dba")))
        with self.assertRaises(Refused) as raised:
            product_key.order(SETTINGS, wanting("oracle-26"))

        self.assertEqual(raised.exception.args, ("forbidden", "this project may have no key for oracle-26"))


class TheServersAnswer(unittest.TestCase):
    order = product_key.order(SETTINGS, wanting("windows-2025"))

    def refusal(self, status, body=b"{}", retry_after=""):
        with self.assertRaises(Refused) as raised:
            product_key.answer(self.order, status, retry_after, body)
        return raised.exception.args

    def test_with_a_key_is_handed_on_without_the_rest(self):
        body = b'{"key": "AAAA-BBBB", "expires": "2027-01-01", "invoice": 7}'

        told = product_key.answer(self.order, 201, "", body)

        self.assertEqual(told, {"product": "windows-2025", "key": "AAAA-BBBB", "expires": "2027-01-01"})

    def test_without_a_key_is_the_servers_fault_and_not_repeated(self):
        for body in [b"<html>AAAA-BBBB", b"", b"[]", b'{"key": 7}', b"\xff", b"[" * 200_000]:
            with self.subTest(body[:20]):
                text = "the licence server answered 200 without a key"
                self.assertEqual(self.refusal(200, body), ("upstream", text))

    def test_says_by_its_status_whose_turn_it_is(self):
        credential = [("/credential", "the licence server does not accept it: 401")]
        sku = [("/products/windows-2025/sku", "the licence server does not know it")]
        self.assertEqual(self.refusal(401), ("misconfigured", credential))
        self.assertEqual(self.refusal(404), ("misconfigured", sku))
        self.assertEqual(self.refusal(409), ("unavailable", None))
        self.assertEqual(self.refusal(503, retry_after="7"), ("unavailable", 7_000))
        self.assertEqual(self.refusal(503, retry_after="Tue, 24 Nov 2026 06:00:00 GMT"), ("unavailable", None))
        self.assertEqual(self.refusal(429, retry_after="9" * 30), ("unavailable", 86_400_000))
        self.assertEqual(self.refusal(500), ("upstream", "the licence server answered 500"))


class TheDay(unittest.TestCase):
    def test_ends_at_midnight_utc(self):
        self.assertEqual(product_key.counter(0, "web"), ("day/0/web", 86_400_000))
        self.assertEqual(product_key.counter(86_400_000 + 5, "web"), ("day/1/web", 86_399_995))


class AServer(unittest.TestCase):
    def test_is_a_url_and_nothing_more(self):
        for server in ["https://l.example.test", "http://127.0.0.1:8080/api/v1"]:
            self.assertEqual(product_key.faults(Settings(server, {})), [])
        for server in ["", "l.example.test", "ftp://l.test", "https://u@l.test", "https://l.test/", "https://l.test?x=1", "https://[", "https://"]:
            with self.subTest(server):
                self.assertEqual([pointer for pointer, _ in product_key.faults(Settings(server, {}))], ["/server"])


if __name__ == "__main__":
    unittest.main()
