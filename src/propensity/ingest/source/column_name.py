"""Usual names of columns in eleven languages, for the draft of a mapping."""

from __future__ import annotations

import re
from collections.abc import Mapping

from propensity.ingest.rule.product import plain_letters

NAMES = {
    "customer": "kunde kundennummer kundennr kunden_id kundenid kartennummer kundenkarte client client_id id_client"
    " numero_client code_client acheteur carte_fidelite cliente id_cliente cliente_id codigo_cliente"
    " num_cliente tarjeta comprador codice_cliente tessera klant klantnummer klant_id klantnr klantenkaart"
    " klient id_klienta nr_klienta numer_klienta kontrahent zakaznik id_zakaznika cislo_zakaznika"
    " zakaznicke_cislo musteri musteri_no musteri_id musteri_kodu uye email e_mail customer_email"
    " email_address mail"
    " vasarlo vasarlo_azonosito vasarlo_kod vevo vevo_azonosito vevokod vevoszam ugyfel ugyfelkod ugyfelszam"
    " ugyfel_azonosito partnerkod",
    "day": "datum bestelldatum rechnungsdatum kaufdatum belegdatum verkaufsdatum zeitpunkt date_commande"
    " date_achat date_vente date_facture jour fecha fecha_compra fecha_pedido fecha_venta data data_ordine"
    " data_acquisto data_vendita besteldatum aankoopdatum factuurdatum data_zakupu data_zamowienia"
    " data_sprzedazy datum_objednavky datum_nakupu datum_prodeje data_compra data_pedido data_venda tarih"
    " siparis_tarihi fatura_tarihi satis_tarihi islem_tarihi"
    " datum vasarlas_datuma rendeles_datuma rendeles_napja szamla_kelte teljesites_datuma eladas_datuma"
    " kiszallitas_datuma kelt nap",
    "item": "artikel artikelnummer artikelnr artikel_id produkt produktnummer produkt_id article code_article"
    " reference ref_article produit code_produit id_produit articulo codigo_articulo producto"
    " codigo_producto id_producto articolo codice_articolo prodotto codice_prodotto product_id"
    " productnummer artikelcode produktu towar kod_towaru kod_produktu id_produktu indeks zbozi vyrobek"
    " kod_zbozi cislo_zbozi produto codigo_produto id_produto artigo urun urun_kodu urun_id stok_kodu"
    " cikkszam cikk cikkkod cikk_kod termek termekkod termek_kod termek_azonosito termek_id",
    "quantity": "menge anzahl stueck stuck stuckzahl quantite qte nombre_articles cantidad unidades cant quantita qta"
    " pezzi aantal hoeveelheid stuks ilosc sztuk szt liczba mnozstvi kusu kusy pocet quantidade qtd qtde"
    " unidades miktar adet"
    " mennyiseg darab darabszam db",
    "revenue": "umsatz betrag gesamtpreis gesamtbetrag summe zeilensumme preis einzelpreis stuckpreis verkaufspreis"
    " montant montant_ttc prix prix_total prix_unitaire total_ligne chiffre_affaires importe importe_total"
    " precio precio_total precio_unitario total_linea importo prezzo prezzo_totale prezzo_unitario"
    " totale_riga bedrag omzet prijs totaalprijs stukprijs regeltotaal kwota cena wartosc cena_jednostkowa"
    " wartosc_sprzedazy castka trzba cena_celkem jednotkova_cena valor valor_total preco preco_total"
    " preco_unitario tutar fiyat birim_fiyat toplam toplam_tutar satis_tutari ciro"
    " ertek osszeg brutto_osszeg fizetett_osszeg sorosszeg vegosszeg netto_ertek brutto_ertek ar egysegar"
    " eladasi_ar brutto_ar netto_ar arbevetel",
    "channel": "kanal filiale vertriebskanal laden magasin canal boutique tienda canale negozio kanaal winkel sklep"
    " prodejna loja magaza sube"
    " csatorna uzlet bolt aruhaz",
    "order": "bestellung bestellnummer bestellnr bestell_id auftrag auftragsnummer rechnungsnummer rechnungsnr"
    " beleg belegnummer bon bonnummer kassenbon commande numero_commande no_commande id_commande facture"
    " numero_facture ticket numero_ticket pedido numero_pedido id_pedido num_pedido factura ordine"
    " numero_ordine id_ordine scontrino fattura bestelnummer bestelling factuurnummer bonnummer kassabon"
    " zamowienie nr_zamowienia numer_zamowienia paragon nr_paragonu faktura nr_faktury objednavka"
    " dokument nr_dokumentu numer_dokumentu"
    " cislo_objednavky uctenka cislo_uctenky encomenda nota_fiscal siparis siparis_no fis_no fatura_no"
    " rendeles rendeles_szam rendelesszam rendeles_azonosito rendeles_id szamlaszam szamla nyugta nyugtaszam"
    " bizonylatszam",
    "kind": "art typ vorgang vorgangsart type_operation tipo tipo_operacion typ_operacji typ_dokladu islem_turu"
    " tipus esemeny muvelet",
    "discount": "rabatt nachlass remise reduction descuento sconto korting rabat znizka sleva desconto indirim"
    " indirim_tutari"
    " kedvezmeny engedmeny arengedmeny",
    "currency": "waehrung wahrung devise monnaie moneda divisa valuta waluta mena moeda para_birimi doviz"
    " penznem deviza valuta",
    "description": "bezeichnung artikelbezeichnung artikelname produktname artikeltext beschreibung designation libelle"
    " libelle_article nom_produit nom_article descripcion nombre_producto nombre_articulo descrizione"
    " nome_prodotto denominazione omschrijving productnaam artikelnaam nazwa nazwa_produktu nazwa_towaru"
    " opis nazev nazev_zbozi popis descricao nome_produto urun_adi aciklama lineitem_name product_name"
    " item_name description"
    " megnevezes termeknev termek_neve cikknev leiras",
    "available_at": "geladen_am importiert_am",
    "parent": "ursprungsbestellung commande_origine pedido_original eredeti_rendeles",
}
CONTACT_NAMES = {  # of columns of a table of messages, where they are drafted by their full names
    "campaign": "campaign campaign_id campaign_name campaign_code mailing mailing_id kampagne kampagnen_id campagne"
    " id_campagne campana id_campana campagna campagne_id kampania id_kampanii kampan id_kampane campanha kampanya"
    " kampanya_id kampany kampany_azonosito",
    "offer": "offer offer_id offer_code offer_name angebot angebot_id offre id_offre oferta id_oferta offerta"
    " aanbieding oferta_id nabidka id_nabidky teklif ajanlat ajanlat_azonosito coupon coupon_id gutschein",
    "arm": "arm variant variant_id group test_group treatment treatment_group test_control cell ab_group gruppe"
    " testgruppe variante groupe grupo gruppo groep grupa skupina varianta csoport variacio grup",
    "experiment": "experiment experiment_id test_id test_name ab_test experimento esperimento eksperyment kiserlet",
    "probability": "probability prob p propensity_of_sending propensity send_probability assignment_probability"
    " treatment_probability probability_sent wahrscheinlichkeit probabilite probabilidad probabilita kans"
    " prawdopodobienstwo pravdepodobnost probabilidade olasilik valoszinuseg",
    "cost": "cost costs cost_per_message cost_per_contact send_cost unit_cost contact_cost message_cost kosten"
    " versandkosten stueckkosten cout cout_envoi coste costo kosten_per_bericht koszt naklady cena custo maliyet"
    " koltseg",
}
ACQUISITION_NAMES = {  # of columns of a table of customers that say when, how and at what cost they were won
    "day": "registered registered_at registered_on registration registration_date date_registered registered_date"
    " signup signup_date signup_at sign_up_date signed_up signed_up_at joined joined_at joined_on join_date date_joined"
    " member_since customer_since client_since first_contact first_contact_date acquired acquired_at acquired_day"
    " acquisition_date created created_at date_created account_created enrolled enrolment_date enrollment_date since"
    " registriert registriert_am registrierung registrierungsdatum anmeldung anmeldedatum angemeldet_am kunde_seit"
    " mitglied_seit erstkontakt angelegt_am"
    " inscription date_inscription inscrit_le client_depuis membre_depuis date_creation premier_contact"
    " registro fecha_registro fecha_alta alta cliente_desde miembro_desde primer_contacto"
    " registrazione data_registrazione data_iscrizione iscritto_il iscrizione cliente_dal primo_contatto"
    " registratie registratiedatum inschrijfdatum inschrijving aanmelddatum aangemeld_op klant_sinds lid_sinds"
    " rejestracja data_rejestracji zarejestrowany klient_od data_zalozenia pierwszy_kontakt"
    " registrace datum_registrace registrovan zakaznik_od prvni_kontakt"
    " data_registo data_cadastro data_inscricao cadastro membro_desde"
    " kayit kayit_tarihi uyelik_tarihi musteri_baslangic ilk_temas"
    " regisztracio regisztracio_datuma regisztracio_napja regisztralt regisztralas_datuma csatlakozas csatlakozott"
    " vasarlo_ota ugyfel_ota elso_kapcsolat felvetel_datuma",
    "channel": "source signup_source registration_source registration_channel acquisition acquisition_channel"
    " acquisition_source acquired_channel acquired_through customer_source lead_source traffic_source utm_source"
    " referrer referral_source origin how_found how_heard"
    " herkunft quelle anmeldequelle akquisekanal akquisitionskanal kanal anmeldekanal"
    " provenance origine canal_acquisition canal_inscription"
    " origen fuente canal_adquisicion canal_registro"
    " provenienza fonte canale_acquisizione"
    " herkomst bron wervingskanaal"
    " zrodlo zrodlo_pozyskania kanal_pozyskania"
    " zdroj zdroj_registrace kanal_akvizice"
    " origem fonte canal_aquisicao"
    " kaynak edinim_kanali kayit_kanali"
    " forras regisztracio_forrasa honnan csatorna szerzesi_csatorna",
    "cost": "acquisition_cost acquired_cost cost_of_acquisition cost_per_acquisition customer_acquisition_cost cac cpa"
    " akquisekosten akquisitionskosten gewinnungskosten cout_acquisition coste_adquisicion costo_acquisizione"
    " acquisitiekosten wervingskosten koszt_pozyskania akvizicni_naklady naklady_akvizice custo_aquisicao"
    " edinim_maliyeti szerzesi_koltseg",
}
KIND_WORDS = {  # of events that are no purchases, without accents
    "view": "view viewed views product_view page_view pageview detail impression visit visited ansicht angesehen"
    " aufgerufen aufruf gesehen produktansicht vue consultation consulte visto vista visita visualizzazione"
    " visualizzato bekeken weergave wyswietlenie obejrzenie obejrzany zobrazeni zobrazeno prohlednuti visualizacao"
    " visualizado goruntuleme goruntulendi inceleme megtekintes megtekintve megnezte nezes megtekintett",
    "cart": "cart basket add_to_cart addtocart basket_add added warenkorb in_den_warenkorb in_warenkorb panier"
    " ajout_panier ajoute_au_panier carrito al_carrito anadido carrello aggiunto_al_carrello winkelwagen"
    " in_winkelwagen koszyk do_koszyka dodanie_do_koszyka kosik do_kosiku vlozeno_do_kosiku carrinho"
    " adicionado_ao_carrinho sepet sepete_ekleme sepete_eklendi kosar kosarba kosarba_tette kosarba_tetel",
    "search": "search searched site_search suche gesucht recherche cherche busqueda ricerca cercato zoeken gezocht"
    " zoekopdracht wyszukiwanie szukanie hledani hledano pesquisa busca arama arandi kereses kereste",
    "open": "open opened email_open geoeffnet geoffnet oeffnung offnung ouvert ouverture abierto apertura aperto"
    " geopend otwarcie otwarto otevreno otevreni aberto abertura acilma acildi megnyitas megnyitotta",
    "click": "click clicked email_click klick geklickt clic clique clicado cliccato geklikt klikniecie kliknuti"
    " kliknuto tiklama tiklandi kattintas kattintott",
}
UNIT_PRICE = (
    r"unit|einzel|stueckpreis|stuckpreis|unitario|unitaria|unitaire|stukprijs|jednostk|jednotk|birim|egysegar"
    r"|per_item|each"
)
PRICE = r"price|preis|prix|precio|prezzo|prijs|cena|preco|fiyat|egysegar|eladasi_ar|cost"
CATEGORY = (
    r"categor|kategor|warengruppe|gruppe|group|famil|department|aisle|class|marke|brand|rayon|marque|marca|merk|marka"
    r"|grupo|gruppo|groep|grupa|grupp|skupin|znacka|reparto|seccion|bolum|csoport|type|typ"
)
STATES = (  # of orders that are no sales, in eleven languages
    "cancelled canceled void voided storniert storno annulliert abgebrochen annule annulee anulado anulada"
    " cancelado cancelada annullato annullata geannuleerd anulowane anulowano anulowany anulowana zruseno zrusena"
    " stornovano iptal iptal_edildi torolve torolt sztorno sztornozva sztornozott lemondva lemondott visszavonva"
)
CANCELLED = frozenset(STATES.split())


def kind_of_word(word: str) -> str | None:
    """The kind of an event that is no purchase, by its word in eleven languages; None for another word.

    Parameters
    ----------
    word : str
        Word of a table.

    Returns
    -------
    str or None
        Kind of the contract.

    Examples
    --------
    >>> kind_of_word("Megtekintés"), kind_of_word("in den Warenkorb"), kind_of_word("kauf")
    ('view', 'cart', None)
    """
    name = normalised_name(word)
    return next((kind for kind, words in KIND_WORDS.items() if name in words.split()), None)


def normalised_name(name: str) -> str:
    """Normalise the name of a column.

    Parameters
    ----------
    name : str
        Name.

    Returns
    -------
    str
        Lower case letters without accents and digits, joined by underscores.

    Examples
    --------
    >>> normalised_name("Müşteri No"), normalised_name("Ilość"), normalised_name("Date d'achat")
    ('musteri_no', 'ilosc', 'date_achat')
    """
    text = plain_letters(name.lower().replace("ı", "i").replace("ł", "l").replace("ß", "ss").replace("ø", "o"))
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"\bd'", "", text)).strip("_")


def names_of(column: str, names: Mapping[str, str] = NAMES) -> tuple[str, ...]:
    """List the usual names of a column of the contract.

    Parameters
    ----------
    column : str
        Column of the contract.
    names : mapping of str to str
        Names by column, with spaces between them: those of `NAMES`, `CONTACT_NAMES` or `ACQUISITION_NAMES`.

    Returns
    -------
    tuple of str
        Normalised names.

    Examples
    --------
    >>> names_of("kind")[:3]
    ('art', 'typ', 'vorgang')
    >>> names_of("cost", ACQUISITION_NAMES)[:2]
    ('acquisition_cost', 'acquired_cost')
    """
    return tuple(dict.fromkeys(names.get(column, "").split()))
