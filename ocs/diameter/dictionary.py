"""The dictionary: one row for each AVP that we speak, with the document that defines it.

Laws
1. A row says what the standard says, never what a client does; leniency is in grammar.py, by name.
2. A name stands for one AVP and a (vendor, code) for one name.
3. `mandatory` is how we send the M-bit; in requests that we read it is not checked (CLIENTS 7).
"""

from typing import Final, NamedTuple

TGPP: Final = 10415
"""The vendor id of 3GPP."""

# The data formats of RFC 6733 sections 4.2 and 4.3.1, by the RFC's own names.
OctetString: Final = "OctetString"
Integer32: Final = "Integer32"
Integer64: Final = "Integer64"
Unsigned32: Final = "Unsigned32"
Unsigned64: Final = "Unsigned64"
Grouped: Final = "Grouped"
Address: Final = "Address"
Time: Final = "Time"
UTF8String: Final = "UTF8String"
DiameterIdentity: Final = "DiameterIdentity"
DiameterURI: Final = "DiameterURI"
Enumerated: Final = "Enumerated"
IPFilterRule: Final = "IPFilterRule"

FIXED_OCTETS: Final = {
    Integer32: 4,
    Integer64: 8,
    Unsigned32: 4,
    Unsigned64: 8,
    Time: 4,
    Enumerated: 4,
}
"""Payload octets of the formats that have one length only; any other length is 5014."""

LEAST_OCTETS: Final = {**FIXED_OCTETS, Address: 2}
"""Shortest possible payload of a format, used for the example in a Failed-AVP; 0 where nothing is named."""


class Avp(NamedTuple):
    """One AVP of the dictionary; `source` is the document and its section."""

    code: int
    vendor: int
    name: str
    format: str
    mandatory: bool
    source: str

    @property
    def key(self) -> int:
        """Return the number by which the codec finds the row: vendor and code in one."""
        return self.vendor << 32 | self.code


AVPS: Final = (
    # The base protocol
    Avp(1, 0, "User-Name", UTF8String, True, "RFC 6733 8.14"),
    Avp(25, 0, "Class", OctetString, True, "RFC 6733 8.20"),
    Avp(27, 0, "Session-Timeout", Unsigned32, True, "RFC 6733 8.13"),
    Avp(33, 0, "Proxy-State", OctetString, True, "RFC 6733 6.7.4"),
    Avp(44, 0, "Acct-Session-Id", OctetString, True, "RFC 6733 9.8.4"),
    Avp(46, 0, "Acct-Session-Time", Unsigned32, True, "RFC 7155 4.6.3"),
    Avp(50, 0, "Acct-Multi-Session-Id", UTF8String, True, "RFC 6733 9.8.5"),
    Avp(55, 0, "Event-Timestamp", Time, True, "RFC 6733 8.21"),
    Avp(85, 0, "Acct-Interim-Interval", Unsigned32, True, "RFC 6733 9.8.2"),
    Avp(257, 0, "Host-IP-Address", Address, True, "RFC 6733 5.3.5"),
    Avp(258, 0, "Auth-Application-Id", Unsigned32, True, "RFC 6733 6.8"),
    Avp(259, 0, "Acct-Application-Id", Unsigned32, True, "RFC 6733 6.9"),
    Avp(260, 0, "Vendor-Specific-Application-Id", Grouped, True, "RFC 6733 6.11"),
    Avp(261, 0, "Redirect-Host-Usage", Enumerated, True, "RFC 6733 6.13"),
    Avp(262, 0, "Redirect-Max-Cache-Time", Unsigned32, True, "RFC 6733 6.14"),
    Avp(263, 0, "Session-Id", UTF8String, True, "RFC 6733 8.8"),
    Avp(264, 0, "Origin-Host", DiameterIdentity, True, "RFC 6733 6.3"),
    Avp(265, 0, "Supported-Vendor-Id", Unsigned32, True, "RFC 6733 5.3.6"),
    Avp(266, 0, "Vendor-Id", Unsigned32, True, "RFC 6733 5.3.3"),
    Avp(267, 0, "Firmware-Revision", Unsigned32, False, "RFC 6733 5.3.4"),
    Avp(268, 0, "Result-Code", Unsigned32, True, "RFC 6733 7.1"),
    Avp(269, 0, "Product-Name", UTF8String, False, "RFC 6733 5.3.7"),
    Avp(270, 0, "Session-Binding", Unsigned32, True, "RFC 6733 8.17"),
    Avp(271, 0, "Session-Server-Failover", Enumerated, True, "RFC 6733 8.18"),
    Avp(272, 0, "Multi-Round-Time-Out", Unsigned32, True, "RFC 6733 8.19"),
    Avp(273, 0, "Disconnect-Cause", Enumerated, True, "RFC 6733 5.4.3"),
    Avp(274, 0, "Auth-Request-Type", Enumerated, True, "RFC 6733 8.7"),
    Avp(276, 0, "Auth-Grace-Period", Unsigned32, True, "RFC 6733 8.10"),
    Avp(277, 0, "Auth-Session-State", Enumerated, True, "RFC 6733 8.11"),
    Avp(278, 0, "Origin-State-Id", Unsigned32, True, "RFC 6733 8.16"),
    Avp(279, 0, "Failed-AVP", Grouped, True, "RFC 6733 7.5"),
    Avp(280, 0, "Proxy-Host", DiameterIdentity, True, "RFC 6733 6.7.3"),
    Avp(281, 0, "Error-Message", UTF8String, False, "RFC 6733 7.3"),
    Avp(282, 0, "Route-Record", DiameterIdentity, True, "RFC 6733 6.7.1"),
    Avp(283, 0, "Destination-Realm", DiameterIdentity, True, "RFC 6733 6.6"),
    Avp(284, 0, "Proxy-Info", Grouped, True, "RFC 6733 6.7.2"),
    Avp(285, 0, "Re-Auth-Request-Type", Enumerated, True, "RFC 6733 8.12"),
    Avp(287, 0, "Accounting-Sub-Session-Id", Unsigned64, True, "RFC 6733 9.8.6"),
    Avp(291, 0, "Authorization-Lifetime", Unsigned32, True, "RFC 6733 8.9"),
    Avp(292, 0, "Redirect-Host", DiameterURI, True, "RFC 6733 6.12"),
    Avp(293, 0, "Destination-Host", DiameterIdentity, True, "RFC 6733 6.5"),
    Avp(294, 0, "Error-Reporting-Host", DiameterIdentity, False, "RFC 6733 7.4"),
    Avp(295, 0, "Termination-Cause", Enumerated, True, "RFC 6733 8.15"),
    Avp(296, 0, "Origin-Realm", DiameterIdentity, True, "RFC 6733 6.4"),
    Avp(297, 0, "Experimental-Result", Grouped, True, "RFC 6733 7.6"),
    Avp(298, 0, "Experimental-Result-Code", Unsigned32, True, "RFC 6733 7.7"),
    Avp(299, 0, "Inband-Security-Id", Unsigned32, True, "RFC 6733 6.10"),
    Avp(480, 0, "Accounting-Record-Type", Enumerated, True, "RFC 6733 9.8.1"),
    Avp(483, 0, "Accounting-Realtime-Required", Enumerated, True, "RFC 6733 9.8.7"),
    Avp(485, 0, "Accounting-Record-Number", Unsigned32, True, "RFC 6733 9.8.3"),
    # Network access, as far as charging reads it
    Avp(11, 0, "Filter-Id", UTF8String, True, "RFC 7155 4.4.9"),
    Avp(30, 0, "Called-Station-Id", UTF8String, True, "RFC 7155 4.2.5"),
    Avp(363, 0, "Accounting-Input-Octets", Unsigned64, True, "RFC 7155 4.6.1"),
    Avp(364, 0, "Accounting-Output-Octets", Unsigned64, True, "RFC 7155 4.6.2"),
    # Credit control
    Avp(411, 0, "CC-Correlation-Id", OctetString, False, "RFC 8506 8.1"),
    Avp(412, 0, "CC-Input-Octets", Unsigned64, True, "RFC 8506 8.24"),
    Avp(413, 0, "CC-Money", Grouped, True, "RFC 8506 8.22"),
    Avp(414, 0, "CC-Output-Octets", Unsigned64, True, "RFC 8506 8.25"),
    Avp(415, 0, "CC-Request-Number", Unsigned32, True, "RFC 8506 8.2"),
    Avp(416, 0, "CC-Request-Type", Enumerated, True, "RFC 8506 8.3"),
    Avp(417, 0, "CC-Service-Specific-Units", Unsigned64, True, "RFC 8506 8.26"),
    Avp(418, 0, "CC-Session-Failover", Enumerated, True, "RFC 8506 8.4"),
    Avp(419, 0, "CC-Sub-Session-Id", Unsigned64, True, "RFC 8506 8.5"),
    Avp(420, 0, "CC-Time", Unsigned32, True, "RFC 8506 8.21"),
    Avp(421, 0, "CC-Total-Octets", Unsigned64, True, "RFC 8506 8.23"),
    Avp(422, 0, "Check-Balance-Result", Enumerated, True, "RFC 8506 8.6"),
    Avp(423, 0, "Cost-Information", Grouped, True, "RFC 8506 8.7"),
    Avp(424, 0, "Cost-Unit", UTF8String, True, "RFC 8506 8.12"),
    Avp(425, 0, "Currency-Code", Unsigned32, True, "RFC 8506 8.11"),
    Avp(426, 0, "Credit-Control", Enumerated, True, "RFC 8506 8.13"),
    Avp(427, 0, "Credit-Control-Failure-Handling", Enumerated, True, "RFC 8506 8.14"),
    Avp(428, 0, "Direct-Debiting-Failure-Handling", Enumerated, True, "RFC 8506 8.15"),
    Avp(429, 0, "Exponent", Integer32, True, "RFC 8506 8.9"),
    Avp(430, 0, "Final-Unit-Indication", Grouped, True, "RFC 8506 8.34"),
    Avp(431, 0, "Granted-Service-Unit", Grouped, True, "RFC 8506 8.17"),
    Avp(432, 0, "Rating-Group", Unsigned32, True, "RFC 8506 8.29"),
    Avp(433, 0, "Redirect-Address-Type", Enumerated, True, "RFC 8506 8.38"),
    Avp(434, 0, "Redirect-Server", Grouped, True, "RFC 8506 8.37"),
    Avp(435, 0, "Redirect-Server-Address", UTF8String, True, "RFC 8506 8.39"),
    Avp(436, 0, "Requested-Action", Enumerated, True, "RFC 8506 8.41"),
    Avp(437, 0, "Requested-Service-Unit", Grouped, True, "RFC 8506 8.18"),
    Avp(438, 0, "Restriction-Filter-Rule", IPFilterRule, True, "RFC 8506 8.36"),
    Avp(439, 0, "Service-Identifier", Unsigned32, True, "RFC 8506 8.28"),
    Avp(440, 0, "Service-Parameter-Info", Grouped, False, "RFC 8506 8.43"),
    Avp(441, 0, "Service-Parameter-Type", Unsigned32, False, "RFC 8506 8.44"),
    Avp(442, 0, "Service-Parameter-Value", OctetString, False, "RFC 8506 8.45"),
    Avp(443, 0, "Subscription-Id", Grouped, True, "RFC 8506 8.46"),
    Avp(444, 0, "Subscription-Id-Data", UTF8String, True, "RFC 8506 8.48"),
    Avp(445, 0, "Unit-Value", Grouped, True, "RFC 8506 8.8"),
    Avp(446, 0, "Used-Service-Unit", Grouped, True, "RFC 8506 8.19"),
    Avp(447, 0, "Value-Digits", Integer64, True, "RFC 8506 8.10"),
    Avp(448, 0, "Validity-Time", Unsigned32, True, "RFC 8506 8.33"),
    Avp(449, 0, "Final-Unit-Action", Enumerated, True, "RFC 8506 8.35"),
    Avp(450, 0, "Subscription-Id-Type", Enumerated, True, "RFC 8506 8.47"),
    Avp(451, 0, "Tariff-Time-Change", Time, True, "RFC 8506 8.20"),
    Avp(452, 0, "Tariff-Change-Usage", Enumerated, True, "RFC 8506 8.27"),
    Avp(453, 0, "G-S-U-Pool-Identifier", Unsigned32, True, "RFC 8506 8.31"),
    Avp(454, 0, "CC-Unit-Type", Enumerated, True, "RFC 8506 8.32"),
    Avp(455, 0, "Multiple-Services-Indicator", Enumerated, True, "RFC 8506 8.40"),
    Avp(456, 0, "Multiple-Services-Credit-Control", Grouped, True, "RFC 8506 8.16"),
    Avp(457, 0, "G-S-U-Pool-Reference", Grouped, True, "RFC 8506 8.30"),
    Avp(458, 0, "User-Equipment-Info", Grouped, False, "RFC 8506 8.49"),
    Avp(459, 0, "User-Equipment-Info-Type", Enumerated, False, "RFC 8506 8.50"),
    Avp(460, 0, "User-Equipment-Info-Value", OctetString, False, "RFC 8506 8.51"),
    Avp(461, 0, "Service-Context-Id", UTF8String, True, "RFC 8506 8.42"),
    Avp(653, 0, "User-Equipment-Info-Extension", Grouped, False, "RFC 8506 8.52"),
    Avp(654, 0, "User-Equipment-Info-IMEISV", OctetString, False, "RFC 8506 8.53"),
    Avp(655, 0, "User-Equipment-Info-MAC", OctetString, False, "RFC 8506 8.54"),
    Avp(656, 0, "User-Equipment-Info-EUI64", OctetString, False, "RFC 8506 8.55"),
    Avp(657, 0, "User-Equipment-Info-ModifiedEUI64", OctetString, False, "RFC 8506 8.56"),
    Avp(658, 0, "User-Equipment-Info-IMEI", OctetString, False, "RFC 8506 8.57"),
    Avp(659, 0, "Subscription-Id-Extension", Grouped, False, "RFC 8506 8.58"),
    Avp(660, 0, "Subscription-Id-E164", UTF8String, False, "RFC 8506 8.59"),
    Avp(661, 0, "Subscription-Id-IMSI", UTF8String, False, "RFC 8506 8.60"),
    Avp(662, 0, "Subscription-Id-SIP-URI", UTF8String, False, "RFC 8506 8.61"),
    Avp(663, 0, "Subscription-Id-NAI", UTF8String, False, "RFC 8506 8.62"),
    Avp(664, 0, "Subscription-Id-Private", UTF8String, False, "RFC 8506 8.63"),
    Avp(665, 0, "Redirect-Server-Extension", Grouped, False, "RFC 8506 8.64"),
    Avp(666, 0, "Redirect-Address-IPAddress", Address, False, "RFC 8506 8.65"),
    Avp(667, 0, "Redirect-Address-URL", UTF8String, False, "RFC 8506 8.66"),
    Avp(668, 0, "Redirect-Address-SIP-URI", UTF8String, False, "RFC 8506 8.67"),
    Avp(669, 0, "QoS-Final-Unit-Indication", Grouped, False, "RFC 8506 8.68"),
    # The packet gateway's attributes
    Avp(2, TGPP, "3GPP-Charging-Id", OctetString, True, "TS 29.061 16.4.7"),
    Avp(3, TGPP, "3GPP-PDP-Type", Enumerated, True, "TS 29.061 16.4.7"),
    Avp(8, TGPP, "3GPP-IMSI-MCC-MNC", UTF8String, True, "TS 29.061 16.4.7"),
    Avp(9, TGPP, "3GPP-GGSN-MCC-MNC", UTF8String, True, "TS 29.061 16.4.7"),
    Avp(10, TGPP, "3GPP-NSAPI", OctetString, True, "TS 29.061 16.4.7"),
    Avp(11, TGPP, "3GPP-Session-Stop-Indicator", OctetString, False, "TS 29.061 16.4.7"),
    Avp(12, TGPP, "3GPP-Selection-Mode", UTF8String, True, "TS 29.061 16.4.7"),
    Avp(13, TGPP, "3GPP-Charging-Characteristics", UTF8String, True, "TS 29.061 16.4.7"),
    Avp(18, TGPP, "3GPP-SGSN-MCC-MNC", UTF8String, True, "TS 29.061 16.4.7"),
    Avp(21, TGPP, "3GPP-RAT-Type", OctetString, True, "TS 29.061 16.4.7"),
    Avp(22, TGPP, "3GPP-User-Location-Info", OctetString, True, "TS 29.061 16.4.7"),
    Avp(23, TGPP, "3GPP-MS-TimeZone", OctetString, True, "TS 29.061 16.4.7"),
    # Bearer and quality of service
    Avp(515, TGPP, "Max-Requested-Bandwidth-DL", Unsigned32, True, "TS 29.214 5.3"),
    Avp(516, TGPP, "Max-Requested-Bandwidth-UL", Unsigned32, True, "TS 29.214 5.3"),
    Avp(1004, TGPP, "Charging-Rule-Base-Name", UTF8String, True, "TS 29.212 5.3"),
    Avp(1016, TGPP, "QoS-Information", Grouped, True, "TS 29.212 5.3"),
    Avp(1020, TGPP, "Bearer-Identifier", OctetString, True, "TS 29.212 5.3"),
    Avp(1025, TGPP, "Guaranteed-Bitrate-DL", Unsigned32, True, "TS 29.212 5.3"),
    Avp(1026, TGPP, "Guaranteed-Bitrate-UL", Unsigned32, True, "TS 29.212 5.3"),
    Avp(1028, TGPP, "QoS-Class-Identifier", Enumerated, True, "TS 29.212 5.3"),
    Avp(1034, TGPP, "Allocation-Retention-Priority", Grouped, False, "TS 29.212 5.3"),
    Avp(1040, TGPP, "APN-Aggregate-Max-Bitrate-DL", Unsigned32, False, "TS 29.212 5.3"),
    Avp(1041, TGPP, "APN-Aggregate-Max-Bitrate-UL", Unsigned32, False, "TS 29.212 5.3"),
    Avp(1046, TGPP, "Priority-Level", Unsigned32, False, "TS 29.212 5.3"),
    Avp(1047, TGPP, "Pre-emption-Capability", Enumerated, False, "TS 29.212 5.3"),
    Avp(1048, TGPP, "Pre-emption-Vulnerability", Enumerated, False, "TS 29.212 5.3"),
    # Charging
    Avp(823, TGPP, "Event-Type", Grouped, True, "TS 32.299 7.2"),
    Avp(824, TGPP, "SIP-Method", UTF8String, True, "TS 32.299 7.2"),
    Avp(825, TGPP, "Event", UTF8String, True, "TS 32.299 7.2"),
    Avp(829, TGPP, "Role-Of-Node", Enumerated, True, "TS 32.299 7.2"),
    Avp(830, TGPP, "User-Session-ID", UTF8String, True, "TS 32.299 7.2"),
    Avp(831, TGPP, "Calling-Party-Address", UTF8String, True, "TS 32.299 7.2"),
    Avp(832, TGPP, "Called-Party-Address", UTF8String, True, "TS 32.299 7.2"),
    Avp(833, TGPP, "Time-Stamps", Grouped, True, "TS 32.299 7.2"),
    Avp(834, TGPP, "SIP-Request-Timestamp", Time, True, "TS 32.299 7.2"),
    Avp(835, TGPP, "SIP-Response-Timestamp", Time, True, "TS 32.299 7.2"),
    Avp(841, TGPP, "IMS-Charging-Identifier", UTF8String, True, "TS 32.299 7.2"),
    Avp(846, TGPP, "CG-Address", Address, True, "TS 32.299 7.2"),
    Avp(847, TGPP, "GGSN-Address", Address, True, "TS 32.299 7.2"),
    Avp(861, TGPP, "Cause-Code", Integer32, True, "TS 32.299 7.2"),
    Avp(862, TGPP, "Node-Functionality", Enumerated, True, "TS 32.299 7.2"),
    Avp(865, TGPP, "PS-Furnish-Charging-Information", Grouped, True, "TS 32.299 7.2"),
    Avp(866, TGPP, "PS-Free-Format-Data", OctetString, True, "TS 32.299 7.2"),
    Avp(867, TGPP, "PS-Append-Free-Format-Data", Enumerated, True, "TS 32.299 7.2"),
    Avp(868, TGPP, "Time-Quota-Threshold", Unsigned32, True, "TS 32.299 7.2"),
    Avp(869, TGPP, "Volume-Quota-Threshold", Unsigned32, True, "TS 32.299 7.2"),
    Avp(870, TGPP, "Trigger-Type", Enumerated, True, "TS 32.299 7.2"),
    Avp(871, TGPP, "Quota-Holding-Time", Unsigned32, True, "TS 32.299 7.2"),
    Avp(872, TGPP, "Reporting-Reason", Enumerated, True, "TS 32.299 7.2"),
    Avp(873, TGPP, "Service-Information", Grouped, True, "TS 32.299 7.2"),
    Avp(874, TGPP, "PS-Information", Grouped, True, "TS 32.299 7.2"),
    Avp(876, TGPP, "IMS-Information", Grouped, True, "TS 32.299 7.2"),
    Avp(877, TGPP, "MMS-Information", Grouped, True, "TS 32.299 7.2"),
    Avp(881, TGPP, "Quota-Consumption-Time", Unsigned32, True, "TS 32.299 7.2"),
    Avp(886, TGPP, "Originator-Address", Grouped, True, "TS 32.299 7.2"),
    Avp(888, TGPP, "Expires", Unsigned32, True, "TS 32.299 7.2"),
    Avp(897, TGPP, "Address-Data", UTF8String, True, "TS 32.299 7.2"),
    Avp(898, TGPP, "Address-Domain", Grouped, True, "TS 32.299 7.2"),
    Avp(899, TGPP, "Address-Type", Enumerated, True, "TS 32.299 7.2"),
    Avp(1200, TGPP, "Domain-Name", UTF8String, True, "TS 32.299 7.2"),
    Avp(1201, TGPP, "Recipient-Address", Grouped, True, "TS 32.299 7.2"),
    Avp(1202, TGPP, "Submission-Time", Time, True, "TS 32.299 7.2"),
    Avp(1208, TGPP, "Addressee-Type", Enumerated, True, "TS 32.299 7.2"),
    Avp(1226, TGPP, "Unit-Quota-Threshold", Unsigned32, True, "TS 32.299 7.2"),
    Avp(1227, TGPP, "PDP-Address", Address, True, "TS 32.299 7.2"),
    Avp(1228, TGPP, "SGSN-Address", Address, True, "TS 32.299 7.2"),
    Avp(1247, TGPP, "PDP-Context-Type", Enumerated, True, "TS 32.299 7.2"),
    Avp(1250, TGPP, "Called-Asserted-Identity", UTF8String, True, "TS 32.299 7.2"),
    Avp(1258, TGPP, "Event-Charging-TimeStamp", Time, True, "TS 32.299 7.2"),
    Avp(1263, TGPP, "Access-Network-Information", OctetString, True, "TS 32.299 7.2"),
    Avp(1264, TGPP, "Trigger", Grouped, True, "TS 32.299 7.2"),
    Avp(2000, TGPP, "SMS-Information", Grouped, True, "TS 32.299 7.2"),
    Avp(2001, TGPP, "Data-Coding-Scheme", Integer32, True, "TS 32.299 7.2"),
    Avp(2007, TGPP, "SM-Message-Type", Enumerated, True, "TS 32.299 7.2"),
    Avp(2008, TGPP, "Originator-SCCP-Address", Address, True, "TS 32.299 7.2"),
    Avp(2010, TGPP, "Recipient-SCCP-Address", Address, True, "TS 32.299 7.2"),
    Avp(2011, TGPP, "Reply-Path-Requested", Enumerated, True, "TS 32.299 7.2"),
    Avp(2012, TGPP, "SM-Discharge-Time", Time, True, "TS 32.299 7.2"),
    Avp(2013, TGPP, "SM-Protocol-ID", OctetString, True, "TS 32.299 7.2"),
    Avp(2014, TGPP, "SM-Status", OctetString, True, "TS 32.299 7.2"),
    Avp(2015, TGPP, "SM-User-Data-Header", OctetString, True, "TS 32.299 7.2"),
    Avp(2016, TGPP, "SMS-Node", Enumerated, True, "TS 32.299 7.2"),
    Avp(2017, TGPP, "SMSC-Address", Address, True, "TS 32.299 7.2"),
    Avp(2018, TGPP, "Client-Address", Address, True, "TS 32.299 7.2"),
    Avp(2019, TGPP, "Number-of-Messages-Sent", Unsigned32, True, "TS 32.299 7.2"),
    Avp(2020, TGPP, "Low-Balance-Indication", Enumerated, True, "TS 32.299 7.2"),
    Avp(2021, TGPP, "Remaining-Balance", Grouped, True, "TS 32.299 7.2"),
    Avp(2022, TGPP, "Refund-Information", OctetString, True, "TS 32.299 7.2"),
    Avp(2023, TGPP, "Carrier-Select-Routing-Information", UTF8String, True, "TS 32.299 7.2"),
    Avp(2024, TGPP, "Number-Portability-Routing-Information", UTF8String, True, "TS 32.299 7.2"),
    Avp(2026, TGPP, "Recipient-Info", Grouped, True, "TS 32.299 7.2"),
    Avp(2027, TGPP, "Originator-Received-Address", Grouped, True, "TS 32.299 7.2"),
    Avp(2028, TGPP, "Recipient-Received-Address", Grouped, True, "TS 32.299 7.2"),
    Avp(2029, TGPP, "SM-Service-Type", Enumerated, True, "TS 32.299 7.2"),
    Avp(2037, TGPP, "Change-Condition", Integer32, True, "TS 32.299 7.2"),
    Avp(2038, TGPP, "Change-Time", Time, True, "TS 32.299 7.2"),
    Avp(2039, TGPP, "Diagnostics", Integer32, True, "TS 32.299 7.2"),
    Avp(2040, TGPP, "Service-Data-Container", Grouped, True, "TS 32.299 7.2"),
    Avp(2041, TGPP, "Start-Time", Time, True, "TS 32.299 7.2"),
    Avp(2042, TGPP, "Stop-Time", Time, True, "TS 32.299 7.2"),
    Avp(2043, TGPP, "Time-First-Usage", Time, True, "TS 32.299 7.2"),
    Avp(2044, TGPP, "Time-Last-Usage", Time, True, "TS 32.299 7.2"),
    Avp(2045, TGPP, "Time-Usage", Unsigned32, True, "TS 32.299 7.2"),
    Avp(2046, TGPP, "Traffic-Data-Volumes", Grouped, True, "TS 32.299 7.2"),
    Avp(2047, TGPP, "Serving-Node-Type", Enumerated, True, "TS 32.299 7.2"),
    Avp(2050, TGPP, "PDN-Connection-Charging-ID", Unsigned32, True, "TS 32.299 7.2"),
    Avp(2051, TGPP, "Dynamic-Address-Flag", Enumerated, True, "TS 32.299 7.2"),
    Avp(2055, TGPP, "AoC-Request-Type", Enumerated, True, "TS 32.299 7.2"),
    Avp(2064, TGPP, "Node-Id", UTF8String, True, "TS 32.299 7.2"),
    Avp(2065, TGPP, "SGW-Change", Enumerated, True, "TS 32.299 7.2"),
    Avp(2066, TGPP, "Charging-Characteristics-Selection-Mode", Enumerated, True, "TS 32.299 7.2"),
    Avp(2067, TGPP, "SGW-Address", Address, True, "TS 32.299 7.2"),
    Avp(2068, TGPP, "Dynamic-Address-Flag-Extension", Enumerated, True, "TS 32.299 7.2"),
    Avp(2301, TGPP, "SIP-Request-Timestamp-Fraction", Unsigned32, True, "TS 32.299 7.2"),
    Avp(2302, TGPP, "SIP-Response-Timestamp-Fraction", Unsigned32, True, "TS 32.299 7.2"),
    Avp(2308, TGPP, "IMSI-Unauthenticated-Flag", Enumerated, True, "TS 32.299 7.2"),
    Avp(2320, TGPP, "Outgoing-Session-Id", UTF8String, True, "TS 32.299 7.2"),
    Avp(2606, TGPP, "PDP-Address-Prefix-Length", Unsigned32, True, "TS 32.299 7.2"),
)

BY_NAME: Final = {avp.name: avp for avp in AVPS}
BY_KEY: Final = {avp.key: avp for avp in AVPS}
