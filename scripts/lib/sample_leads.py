"""Realistic made-up leads, as in vicidial_list after a list was loaded and dialled for some weeks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from random import Random
from typing import Any

from faker import Faker

PLACES = (
    # area code, city, state, province, postal code, country, hours from UTC
    ("212", "New York", "NY", "", "100##", "USA", "-5.00"),
    ("312", "Chicago", "IL", None, "606##", "USA", "-6.00"),
    ("303", "Denver", "CO", None, "802##", "USA", "-7.00"),
    ("213", "Los Angeles", "CA", "", "900##", "USA", "-8.00"),
    ("787", "Mayagüez", "PR", None, "0068#", "USA", "-4.00"),
    ("514", "Montréal", "QC", "Québec", "H2X #?#", "CAN", "-5.00"),
)
LISTS = {
    101: ("Spring 2026", "SPRING", "Y"),
    102: ("Spring 2025", "SPRING", "N"),
    103: ("Renewals", "RENEWALS", "Y"),
    998: ("Default manual list", "TESTCAMP", "N"),
}
"""The lists of the leads: name, campaign, and whether the list is active."""
CALLED = ("NA", "A", "AA", "B", "DROP", "NI", "N", "SALE", "DNC", "DC", "CALLBK", "XFER")


def made_up_leads(count: int) -> Iterator[dict[str, Any]]:
    """Rows for vicidial_list, up to 600: the same each time, but for the dates, which count back from today.

    Their phone numbers, 555-0100 to 555-0199 in each area code, are reserved for fiction.
    """
    fake = Faker(["en_US", "fr_CA", "es_MX"])
    fake.seed_instance(1)
    random = Random(1)
    pick = random.choice
    today = datetime.combine(date.today(), time())
    for number in range(count):
        area_code, city, state, province, postal_code, country, gmt_offset = PLACES[number % len(PLACES)]
        gender = pick(("M", "F", "U"))
        called_count = pick((0, 0, 1, 1, 2, 3, 5, 8))
        # By day: an hour of the night may be one that daylight saving time leaves out, and MariaDB refuses those.
        age = random.randrange(20, 800)
        loaded = today + timedelta(days=-age, hours=8)
        last_call = today + timedelta(days=-random.randrange(1, age), seconds=random.randrange(9 * 3600, 20 * 3600))
        first_name = fake.first_name_male() if gender == "M" else fake.first_name_female()
        yield {
            "entry_date": loaded,
            "modify_date": last_call if called_count else loaded,
            "status": pick(CALLED) if called_count else "NEW",
            "user": pick(("VDAD", "1001", "1002", "1003")) if called_count else "",
            "vendor_lead_code": f"VL{48_000 + number}",
            "source_id": pick(("web", "fair", "", None)),
            "list_id": pick(tuple(LISTS)),
            "gmt_offset_now": gmt_offset,
            "called_since_last_reset": pick(("Y", "Y1", "Y2", "N")) if called_count else "N",
            "phone_code": "1",
            "phone_number": f"{area_code}55501{number // len(PLACES):02}",
            "title": pick(("", None, "Mr", "Ms", "Dr")),
            "first_name": first_name,
            "middle_initial": pick(("", None, "J", "M")),
            "last_name": fake.last_name(),
            "address1": fake["en_US"].street_address(),
            "address2": pick(("", "", None, "Apt 3")),
            "address3": "",
            "city": city,
            "state": state,
            "province": province,
            "postal_code": fake.bothify(postal_code, letters="ABCEGHJKLMNP"),
            "country_code": country,
            "gender": gender,
            "date_of_birth": pick((None, "0000-00-00", fake.date_of_birth(minimum_age=18, maximum_age=90))),
            "alt_phone": pick(("", None, f"{area_code}55501{random.randrange(100):02}")),
            "email": pick(("", None, f"lead{number}@example.com")),
            "security_phrase": pick(("", None)),
            "comments": pick(("", None, "Wants a call in the evening", "Habla español", "Préfère le français")),
            "called_count": called_count,
            # What Vicidial's list loader writes for a lead that nobody has called, or NULL if something else made it.
            "last_local_call_time": last_call if called_count else pick(("2008-01-01 00:00:00", None)),
            "rank": pick((0, 0, 0, 10, -5)),
            "owner": pick(("", "north", "south")),
            "entry_list_id": 0,
        }
