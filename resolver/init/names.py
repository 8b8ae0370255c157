"""What columns are called: words for person fields and event fields, in several languages. Plain lists, to be added to.

Headers are compared in lower case, without accents, with everything but letters and digits taken out.
"""

from __future__ import annotations

import re
import unicodedata

PERSON: dict[str, tuple[str, ...]] = {
    "first_name": (
        *("first", "firstname", "fname", "given", "givenname", "forename", "givennames", "namefirst", "ptfirstname"),
        *("vorname", "prenom", "nombre", "nombres", "nomepaziente", "voornaam", "primeironome", "patfirstname"),
        *("imie", "fornavn", "fornamn", "etunimi", "patientfirstname", "firstnm"),
    ),
    "middle_name": (
        *("middle", "middlename", "mname", "mi", "middleinitial", "middleinit", "secondname", "zweitername"),
        *("deuxiemeprenom", "segundonombre", "tussenvoegsel", "mellannamn", "patientmiddlename"),
    ),
    "last_name": (
        *("last", "lastname", "lname", "surname", "family", "familyname", "namelast", "ptlastname", "lastnm", "sname"),
        *("nachname", "familienname", "zuname", "nom", "nomdefamille", "apellido", "apellidos", "primerapellido"),
        *(
            "cognome",
            "achternaam",
            "sobrenome",
            "apelido",
            "nazwisko",
            "etternavn",
            "efternamn",
            "efternavn",
            "sukunimi",
        ),
        "patientlastname",
    ),
    "maiden_name": (
        *("maiden", "maidenname", "birthname", "namebirth", "surnameatbirth", "geburtsname", "nomdenaissance"),
        *(
            "nomjeunefille",
            "apellidodesoltera",
            "cognomedanubile",
            "geboortenaam",
            "nomedesolteira",
            "mothersmaidenname",
        ),
    ),
    "suffix": ("suffix", "namesuffix", "sfx", "generation", "generationalsuffix"),
    "birth_date": (
        *("birthdate", "dateofbirth", "dob", "birthday", "born", "bdate", "birthdt", "dobdt", "birth"),
        *("geburtsdatum", "geboren", "gebdatum", "gebdat", "datedenaissance", "datenaissance", "naissance", "ddn"),
        *("fechadenacimiento", "fechanacimiento", "nacimiento", "datadinascita", "datanascita", "geboortedatum"),
        *("datadenascimento", "datanascimento", "dataurodzenia", "fodselsdato", "fodelsedatum", "patientdob"),
    ),
    "sex": (
        *("sex", "gender", "sexcode", "gendercode", "adminsex", "administrativesex", "administrativegender", "mf"),
        *("geschlecht", "sexe", "genre", "sexo", "genero", "sesso", "geslacht", "plec", "kjonn", "kon", "patientsex"),
    ),
    "ssn": (
        *(
            "ssn",
            "socialsecuritynumber",
            "socialsecurity",
            "socsec",
            "ssnumber",
            "ssno",
            "soc",
            "socialsecno",
            "social",
        ),
        *("patientssn", "ssnnbr"),
    ),
    "ssn_last4": ("ssnlast4", "last4ssn", "ssn4", "last4", "lastfourssn", "ssnlastfour"),
    "street": (
        *("street", "streetaddress", "address1", "addressline1", "addr1", "addrline1", "line1", "streetline", "addr"),
        *(
            "strasse",
            "str",
            "strassehausnummer",
            "rue",
            "adresse1",
            "calle",
            "direccion1",
            "via",
            "indirizzo1",
            "straat",
        ),
        *("rua", "ulica", "streetname", "residencestreet", "patientaddress1", "homeaddress1"),
    ),
    "address": (
        *("address", "fulladdress", "homeaddress", "mailingaddress", "patientaddress", "anschrift", "adresse"),
        *("direccion", "domicilio", "indirizzo", "adres", "endereco", "residence"),
    ),
    "street_number": ("streetnumber", "housenumber", "houseno", "hausnummer", "numero", "numerorue", "huisnummer"),
    "unit": ("unit", "apt", "apartment", "address2", "addressline2", "addr2", "suite", "line2", "unitnumber", "aptno"),
    "city": (
        *(
            "city",
            "town",
            "municipality",
            "cityname",
            "suburb",
            "locality",
            "stadt",
            "ort",
            "wohnort",
            "ville",
            "commune",
        ),
        *("ciudad", "localidad", "municipio", "citta", "comune", "plaats", "woonplaats", "stad", "cidade", "miasto"),
        *("homecity", "patientcity", "addresscity", "postort", "poststed"),
    ),
    "state": (
        *(
            "state",
            "statecode",
            "province",
            "region",
            "st",
            "bundesland",
            "departement",
            "provincia",
            "estado",
            "stateabbr",
        ),
        *("homestate", "patientstate", "addressstate"),
    ),
    "zip": (
        *("zip", "zipcode", "postalcode", "postcode", "zip5", "postal", "plz", "postleitzahl", "codepostal", "cp"),
        *("codigopostal", "cap", "kodpocztowy", "cep", "postnummer", "postnr", "patientzip", "homezip", "addresszip"),
    ),
    "phone": (
        *("phone", "phonenumber", "telephone", "tel", "phoneno", "homephone", "mobile", "cell", "cellphone", "phone1"),
        *("mobilephone", "telefon", "telefonnummer", "handy", "telephonenumber", "telefono", "movil", "telefoon"),
        *("telefone", "portable", "contactnumber", "patientphone", "primaryphone"),
    ),
    "email": ("email", "emailaddress", "mail", "courriel", "correo", "correoelectronico", "emailaddr", "patientemail"),
    "member_id": (
        *("memberid", "membernumber", "memberno", "insuranceid", "insurancenumber", "policynumber", "policyno"),
        *("subscriberid", "subscribernumber", "versichertennummer", "krankenversichertennummer", "numeroassure"),
        *("insurancememberid", "planmemberid", "medicaidid", "medicareid", "beneficiaryid"),
    ),
    "full_name": (
        *("name", "fullname", "patientname", "patname", "ptname", "nameofpatient", "completename", "personname"),
        *("nombrecompleto", "nomcomplet", "nomecompleto", "nomprenom", "patient", "volledigenaam", "displayname"),
    ),
}

ID = (
    *("id", "recordid", "recid", "patientid", "patid", "ptid", "pid", "mrn", "medicalrecordnumber", "personid"),
    *("patientnumber", "patientno", "patientnr", "recordnumber", "recordno", "rowid", "uid", "uuid", "key", "nr", "no"),
    *("localid", "sourceid", "chartnumber", "accountnumber", "patientenid", "patientennummer", "patientidentifier"),
    *("fallnummer", "numeropatient", "ipp", "idpaciente", "idpatient", "numerohistoria", "nhc", "idpaziente"),
    *("patientkey", "identifier", "enterpriseid", "subjectid", "empi", "patientguid", "recnum"),
)
SOURCE = (
    *("facility", "site", "source", "hospital", "clinic", "organization", "organisation", "provenance", "system"),
    *("facilityid", "siteid", "sourceid", "hospitalid", "facilityname", "sourcesystem", "sourcename", "location"),
    *("einrichtung", "standort", "krankenhaus", "klinik", "etablissement", "hopital", "centro", "ospedale", "mandant"),
)
UPDATED = (
    *("updatedat", "updated", "lastupdated", "modified", "modifiedat", "lastmodified", "lastupdate", "updatedate"),
    *("changedat", "lastchanged", "lastseen", "geaendertam", "geandertam", "datemaj", "lastupdateddate", "timestamp"),
)
RACE = ("race", "racecode", "patientrace")
ETHNICITY = ("ethnicity", "ethnic", "ethnicgroup", "ethnicitycode", "patientethnicity")

EVENT: dict[str, tuple[str, ...]] = {
    "code": (
        *(
            "code",
            "conditioncode",
            "diagnosiscode",
            "dxcode",
            "icd",
            "icd10",
            "icd10code",
            "icdcode",
            "snomed",
            "loinc",
        ),
        *("loinccode", "rxnorm", "rxcui", "ndc", "cvx", "cvxcode", "cpt", "cptcode", "procedurecode", "drugcode", "dx"),
        *("medicationcode", "vaccinecode", "testcode", "labcode", "itemcode", "snomedcode", "diagnosecode", "icdkode"),
    ),
    "description": (
        *("description", "diagnosis", "diagnosisdescription", "condition", "conditionname", "medication", "drug"),
        *("drugname", "medicationname", "allergy", "allergen", "procedure", "procedurename", "vaccine", "vaccinename"),
        *(
            "test",
            "testname",
            "lab",
            "labname",
            "text",
            "display",
            "term",
            "name",
            "diagnose",
            "bezeichnung",
            "libelle",
        ),
        *("descripcion", "descrizione", "measurement", "observation", "item", "label", "device", "visittype", "what"),
    ),
    "start": (
        *(
            "start",
            "startdate",
            "date",
            "onset",
            "onsetdate",
            "starttime",
            "startdatetime",
            "eventdate",
            "recordeddate",
        ),
        *("diagnosisdate", "orderdate", "servicedate", "performeddate", "admitdate", "admissiondate", "visitdate"),
        *(
            "datetime",
            "time",
            "resultdate",
            "collectiondate",
            "prescribeddate",
            "givendate",
            "datum",
            "beginn",
            "fecha",
        ),
        *("effectivedate", "encounterdate", "begin", "begindate", "recorded", "charttime", "at", "when", "datedebut"),
    ),
    "stop": (
        *("stop", "stopdate", "end", "enddate", "endtime", "stoptime", "dischargedate", "resolved", "resolveddate"),
        *("abatement", "enddatetime", "ende", "datefin", "fechafin", "abatementdate"),
    ),
    "value": (
        "value",
        "result",
        "resultvalue",
        "valuenum",
        "numericvalue",
        "measurementvalue",
        "wert",
        "valeur",
        "valor",
    ),
    "unit": ("unit", "units", "uom", "unitofmeasure", "resultunit", "valueuom", "einheit", "unite", "unidad"),
}

# Words in the names of files and columns that tell what kind of event a table holds.
KINDS: dict[str, tuple[str, ...]] = {
    "condition": ("condition", "diagnos", "problem", "dx", "icd", "comorbid"),
    "medication": ("medic", "drug", "prescri", "rx", "pharm"),
    "allergy": ("allerg",),
    "immunization": ("immuni", "vacc", "impf"),
    "procedure": ("procedure", "surg", "operation", "cpt"),
    "device": ("device", "implant"),
    "measurement": ("observ", "vital", "lab", "measure", "result", "messwert"),
    "encounter": ("encounter", "visit", "admission", "stay", "aufenthalt", "sejour"),
}


# Words around these in headers: Patientenname, nom_patient, person_dob.
_AROUND = "patienten|patientin|patient|paciente|paziente|person|client|pat|pt"


def bare(header: str) -> str:
    """The same, without a word in front or behind that says whose it is."""
    return re.sub(f"^({_AROUND})s?(?=.{{3}})|(?<=.{{3}})({_AROUND})$", "", plain(header))


def plain(header: str) -> str:
    """A header in the form in which the words above are written."""
    spelt = header.replace("ß", "ss").casefold()
    folded = unicodedata.normalize("NFKD", spelt).encode("ascii", "ignore").decode()
    return re.sub("[^a-z0-9]", "", folded)
